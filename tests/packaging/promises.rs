//! The promises in the crate's documentation name the tests that protect them, so each test has one
//! place, and each file of tests a name of its own.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use crate::repository;

/// The Rust files under `directory` of the repository.
fn sources(directory: &str) -> impl Iterator<Item = PathBuf> {
    let files = WalkDir::new(repository().join(directory)).into_iter();
    files
        .map(|found| found.expect(directory).into_path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
}

/// The names of the tests in a file.
fn tests_in(path: &Path) -> Vec<String> {
    let source = fs::read_to_string(path).expect("a source file");
    let tests = source.split("#[test]\n").skip(1);
    tests.filter_map(|rest| Some(rest.split_once("fn ")?.1.split_once('(')?.0.to_owned())).collect()
}

/// Every test, as `binary::file::test`, or as `room::…::tests::test` for those of the library.
fn every_test() -> Vec<String> {
    let path_of = |root: &str, file: &Path| {
        let inside = file.strip_prefix(repository().join(root)).expect("inside").with_extension("");
        let parts: Vec<_> = inside.iter().map(|part| part.to_str().expect("UTF-8")).collect();
        parts.join("::")
    };
    let mut all = Vec::new();
    for file in sources("tests") {
        let module = path_of("tests", &file);
        all.extend(tests_in(&file).iter().map(|test| format!("{module}::{test}")));
    }
    for file in sources("src") {
        let module = path_of("src", &file);
        let module = module.trim_end_matches("::mod").trim_end_matches("::tests");
        all.extend(tests_in(&file).iter().map(|test| format!("{module}::tests::{test}")));
    }
    all
}

#[test]
fn every_promise_names_tests_that_exist() {
    let text = fs::read_to_string(repository().join("src/lib.rs")).expect("src/lib.rs");
    let docs: Vec<&str> = text.lines().take_while(|line| line.starts_with("//!")).collect();
    let docs = docs.join("\n");
    let all = every_test();
    let named: Vec<&str> = docs.split('`').filter(|word| word.matches("::").count() >= 2).collect();
    for test in &named {
        assert!(all.iter().any(|known| known == test), "there is no test {test}");
    }
    let promises = docs.lines().filter(|line| line.contains(". **")).count();
    assert!(named.len() > promises && promises > 8, "{} for {promises} promises", named.len());
}

#[test]
fn no_two_files_of_tests_have_one_name() {
    let mut by_name: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for file in sources("tests") {
        let name = file.file_name().expect("a name").to_owned();
        // A crate's and a module's root can have no other name.
        if name != OsStr::new("main.rs") && name != OsStr::new("mod.rs") {
            by_name.entry(name).or_default().push(file);
        }
    }
    by_name.retain(|_, files| files.len() > 1);
    assert_eq!(by_name, BTreeMap::new());
}
