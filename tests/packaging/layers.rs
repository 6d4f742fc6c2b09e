//! The rooms of the library are layers: each uses only those below it.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use walkdir::WalkDir;

/// From the bottom. A room may use itself and what stands before it.
const LAYERS: [&str; 21] = [
    "escape", "key", "error", "source", "sys", "layout", "units", "progress", "root", "stamp",
    "locks", "cache", "history", "library", "verify", "plan", "removal", "stats", "maintain",
    "daemon", "lib",
];

/// The rooms that a file names, tests apart.
fn rooms_used(code: &str) -> BTreeSet<&str> {
    let code = code.split("#[cfg(test)]\nmod tests {").next().unwrap();
    let code = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    code.flat_map(|line| line.split("crate::").skip(1))
        .map(|rest| rest.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).next().unwrap())
        .filter(|name| LAYERS.contains(name))
        .collect()
}

#[test]
fn every_dependency_points_down() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let layer = |name: &str| LAYERS.iter().position(|known| *known == name);
    let mut upward = Vec::new();
    let mut seen = BTreeSet::new();
    for file in WalkDir::new(&src) {
        let file = file.unwrap();
        let inside = file.path().strip_prefix(&src).unwrap();
        let is_test = inside.file_name().is_some_and(|name| name == "tests.rs");
        if inside.extension().is_none_or(|end| end != "rs") || is_test {
            continue;
        }
        let room = inside.components().next().unwrap().as_os_str().to_str().unwrap();
        let room = room.trim_end_matches(".rs");
        if matches!(room, "cli" | "main" | "lib") {
            continue;
        }
        let own = layer(room).unwrap_or_else(|| panic!("{room} is a room without a layer"));
        seen.insert(room.to_owned());
        for used in rooms_used(&fs::read_to_string(file.path()).unwrap()) {
            if layer(used) > Some(own) {
                upward.push(format!("{} uses {used}", inside.display()));
            }
        }
    }
    assert_eq!(upward, [""; 0], "{LAYERS:?}");
    assert_eq!(seen.len(), LAYERS.len() - 1, "a layer without a room");
}
