//! The promises in the crate's documentation name the tests that protect them.

use std::fs;
use std::path::Path;

#[test]
fn every_promise_names_tests_that_exist() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(top.join("src/lib.rs")).unwrap();
    let docs: Vec<&str> = text.lines().take_while(|line| line.starts_with("//!")).collect();
    let docs = docs.join("\n");
    let mut named = 0;
    for path in docs.split('`').filter(|word| word.matches("::").count() == 2) {
        let parts: Vec<&str> = path.split("::").collect();
        let [binary, module, name] = parts[..] else { unreachable!() };
        let file = match module {
            "tests" => top.join(format!("src/{binary}.rs")),
            _ => top.join(format!("tests/{binary}/{module}.rs")),
        };
        let source = fs::read_to_string(&file).unwrap_or_default();
        assert!(source.contains(&format!("fn {name}()")), "{path} is not in {}", file.display());
        named += 1;
    }
    let promises = docs.lines().filter(|line| line.contains(". **")).count();
    assert!(named > promises && promises > 8, "{named} tests for {promises} promises");
}
