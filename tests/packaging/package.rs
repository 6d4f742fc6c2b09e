//! What the Debian package says of itself agrees with the project. What it is like once it is built,
//! `.ci/package` looks at.
//!
//! Renew its changelog with `HLS_CACHE_RENEW_DOCS=1 cargo test docs`.

use std::fs;

use jiff::civil::Date;

use crate::repository;

/// Columns of a line of a Debian changelog.
const WIDTH: usize = 80;

fn read(file: &str) -> String {
    fs::read_to_string(repository().join(file)).expect(file)
}

/// The value of the one line `name = "…"` in Cargo.toml.
fn of_manifest(name: &str) -> String {
    let manifest = read("Cargo.toml");
    let mut values =
        manifest.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(" = \""));
    let value = values.next().expect(name).trim_end_matches('"').to_owned();
    assert_eq!(values.next(), None, "{name}");
    value
}

/// The releases of CHANGELOG.md as Debian writes them.
fn debian_changelog(changelog: &str, maintainer: &str) -> String {
    let mut debian = String::new();
    for release in changelog.split("\n## [").skip(1) {
        let (heading, changes) = release.split_once('\n').expect("changes");
        let Some((version, date)) = heading.split_once("] - ") else {
            assert_eq!(heading, "Unreleased]");
            continue;
        };
        debian += &format!("hls-cache ({version}-1) unstable; urgency=medium\n");
        // A table is for whoever reads the file.
        let rows = |line: &&str| !line.trim_start().starts_with('|');
        let changes: Vec<&str> = changes.lines().filter(rows).collect();
        // Paragraphs: a heading or an item, without its line breaks.
        let changes = changes.join("\n").replace("\n  ", " ");
        for paragraph in changes.lines().filter(|line| !line.is_empty()) {
            if let Some(kind) = paragraph.strip_prefix("### ") {
                debian += &format!("\n  [ {kind} ]\n");
                continue;
            }
            let item = paragraph.strip_prefix("- ").expect(paragraph);
            let mut line = String::from("  *");
            for word in item.split(' ') {
                if line.chars().count() + 1 + word.chars().count() > WIDTH {
                    debian += &format!("{line}\n");
                    line = String::from("   ");
                }
                line = line + " " + word;
            }
            debian += &format!("{line}\n");
        }
        let date: Date = date.parse().expect(heading);
        debian +=
            &format!("\n -- {maintainer}  {}\n\n", date.strftime("%a, %d %b %Y 00:00:00 +0000"));
    }
    debian.truncate(debian.trim_end().len());
    debian + "\n"
}

#[test]
fn the_debian_changelog_and_the_projects_docs_agree() {
    let expected = debian_changelog(&read("CHANGELOG.md"), &of_manifest("maintainer"));
    if std::env::var_os("HLS_CACHE_RENEW_DOCS").is_some() {
        fs::write(repository().join("packaging/debian/changelog"), &expected)
            .expect("cannot renew");
    }
    assert!(
        read("packaging/debian/changelog") == expected,
        "packaging/debian/changelog is out of date; renew it with: HLS_CACHE_RENEW_DOCS=1 cargo test docs"
    );
    let newest = format!("hls-cache ({}-1)", of_manifest("version"));
    assert!(expected.starts_with(&newest), "the package's version has no entry in CHANGELOG.md");
}

#[test]
fn the_container_image_is_tagged_with_the_version() {
    let version = of_manifest("version");
    for file in ["Containerfile", "compose.yaml", "kubernetes-cronjob.yaml"] {
        let text = read(&format!("packaging/{file}"));
        let tags = text.split("hls-cache:").skip(1).map(|rest| {
            rest.split(|c: char| c.is_whitespace()).next().expect("the rest of a line")
        });
        let tags: Vec<&str> = tags.collect();
        assert!(!tags.is_empty() && tags.iter().all(|tag| *tag == version), "{file}: {tags:?}");
    }
}

/// Removing the package stops the timers of each task, and purging it forgets when they last ran.
#[test]
fn the_scripts_of_the_package_know_every_timer() {
    let units = fs::read_dir(repository().join("packaging")).expect("packaging/");
    let mut tasks: Vec<String> = units
        .filter_map(|unit| unit.expect("packaging/").file_name().into_string().ok())
        .filter_map(|unit| {
            Some(unit.strip_prefix("hls-cache-")?.strip_suffix("@.timer")?.to_owned())
        })
        .collect();
    tasks.sort_unstable();
    for script in ["prerm", "postrm"] {
        let text = read(&format!("packaging/debian/{script}"));
        let list = text.split("for task in ").nth(1).and_then(|rest| rest.split(';').next());
        let mut known: Vec<&str> = list.expect(script).split(' ').collect();
        known.sort_unstable();
        assert_eq!(known, tasks, "{script}");
    }
}

/// No wrapper, no flags, no target: cargo and a linker are all that a checkout needs.
#[test]
fn the_checkout_builds_with_cargo_alone() {
    for config in [".cargo/config.toml", ".cargo/config"] {
        assert!(!repository().join(config).exists(), "{config} changes how the checkout builds");
    }
}

#[test]
fn the_package_has_the_whole_licence() {
    let (licence, copyright) = (read("LICENSE"), read("packaging/debian/copyright"));
    for line in licence.lines().filter(|line| !line.is_empty() && *line != "MIT License") {
        let line = line.trim_start_matches("Copyright (c) ");
        assert!(copyright.contains(line), "{line}");
    }
}

#[test]
fn the_manual_names_the_json_schema_where_the_package_installs_it() {
    let asset = "[\"packaging/hls-cache.schema.json\", \"usr/share/hls-cache/\", \"644\"]";
    assert!(read("Cargo.toml").contains(asset), "{asset}");
    let page = read("man/hls-cache-json.5").replace("\\-", "-");
    assert!(page.contains(".I /usr/share/hls-cache/hls-cache.schema.json\n"));
}
