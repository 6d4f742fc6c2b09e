//! Checks that the man pages and completions in the repository match the command line. Each page is the
//! definitions of `cli` followed by the hand-written sections of `man/prose`; hls-cache-json(5) is its prose
//! with the fields of the JSON Schema in the middle.
//!
//! Renew them with `HLS_CACHE_RENEW_DOCS=1 cargo test docs`.
#![allow(clippy::print_stderr, reason = "a skipped test prints a line")]

mod completions;
mod json_page;

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap_complete::Shell;
use clap_mangen::Man;

use crate::cli::args::{self, Help};

/// The date of the last review of the pages.
const DATE: &str = "2026-11-24";

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Compares the file `path` with `expected`, or writes it if `HLS_CACHE_RENEW_DOCS` is set.
fn check_or_renew(path: &Path, expected: &str) {
    if std::env::var_os("HLS_CACHE_RENEW_DOCS").is_some() {
        fs::write(path, expected).expect("cannot renew");
        return;
    }
    let committed = fs::read_to_string(path).unwrap_or_default();
    assert!(
        committed == expected,
        "{} is out of date; renew it with: HLS_CACHE_RENEW_DOCS=1 cargo test docs",
        path.display()
    );
}

/// The page of each command with its file name.
fn pages() -> Vec<(PathBuf, String)> {
    // The subcommand `help` needs no page.
    let mut command = args::command(Help::Full).disable_help_subcommand(true);
    command.build();
    let mut commands = vec![command.clone()];
    commands.extend(command.get_subcommands().cloned());
    commands.into_iter().map(page).collect()
}

fn page(command: clap::Command) -> (PathBuf, String) {
    let is_overview = command.has_subcommands();
    // The short form: the generator's own names every option, and none of their values.
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage:").trim().to_owned();
    let man = Man::new(command.override_usage(usage))
        .date(DATE)
        .source("hls-cache")
        .manual("User Commands");
    let name = PathBuf::from(man.get_filename());
    let (mut top, mut options) = (Vec::new(), Vec::new());
    // What `--help` ends with is said at more length by the prose, and the version is no news.
    man.render_title(&mut top)
        .and_then(|()| man.render_name_section(&mut top))
        .and_then(|()| man.render_synopsis_section(&mut top))
        .and_then(|()| man.render_options_section(&mut options))
        .and_then(
            |()| {
                if is_overview { man.render_subcommands_section(&mut options) } else { Ok(()) }
            },
        )
        .expect("rendering into memory");
    let prose = repository().join("man/prose").join(&name).with_extension("roff");
    let prose = fs::read_to_string(&prose).unwrap_or_else(|e| panic!("{}: {e}", prose.display()));
    // The prose begins with the description, which stands before the options.
    let end = prose.match_indices("\n.SH ").next().expect("a second section").0 + 1;
    let (description, rest) = prose.split_at(end);
    assert!(description.starts_with(".SH DESCRIPTION\n"), "{}", name.display());
    let generated = [top, description.as_bytes().to_vec(), options].concat();
    let page = tidy(std::str::from_utf8(&generated).expect("UTF-8")) + rest;
    (repository().join("man").join(name), page)
}

/// Keeps one header (the generator emits one per section), and removes empty lines and doubled breaks.
fn tidy(page: &str) -> String {
    const HEADER: &str = ".ie \\n(.g .ds Aq \\(aq\n.el .ds Aq '\n";
    let body = page.replace(HEADER, "");
    let mut tidy = String::from(HEADER);
    for line in body.lines().map(str::trim_end) {
        let repeats_a_break = line == ".br" && tidy.ends_with("\n.br\n");
        if !line.is_empty() && !repeats_a_break {
            tidy = tidy + line + "\n";
        }
    }
    tidy
}

/// The page of the JSON with its file name.
fn json_page() -> (PathBuf, String) {
    const FIELDS: &str = ".\\\" The fields of hls-cache.schema.json\n";
    let read = |path: &str| fs::read_to_string(repository().join(path)).expect(path);
    let prose = read("man/prose/hls-cache-json.roff");
    assert_eq!(prose.matches(FIELDS).count(), 1, "{FIELDS}");
    let fields = json_page::fields(&read("packaging/hls-cache.schema.json"));
    let page = format!(".TH hls-cache-json 5 {DATE} hls-cache \"File Formats\"\n{prose}");
    (repository().join("man/hls-cache-json.5"), page.replace(FIELDS, &fields))
}

#[test]
fn the_man_pages_are_current_and_clean() {
    for (path, page) in pages().into_iter().chain([json_page()]) {
        check_or_renew(&path, &page);
    }
    if has("mandoc") {
        let pages = fs::read_dir(repository().join("man")).expect("man/");
        for path in pages.map(|entry| entry.expect("man/").path()).filter(|path| path.is_file()) {
            let lint = run(Command::new("mandoc").args(["-Tlint", "-Wwarning"]).arg(&path));
            assert_eq!(lint, "", "{}", path.display());
        }
    }
}

#[test]
fn the_completions_are_current_and_load() {
    for (name, shell, script) in completions::scripts() {
        let path = repository().join("completions").join(name);
        check_or_renew(&path, &script);
        loads(shell, &path);
    }
}

/// The shell loads the script and completes `hls-cache swe` and an option of it.
fn loads(shell: Shell, path: &Path) {
    const BASH: &str = r#"
        source "$1"
        handler=$(complete -p hls-cache | grep -o -e '-F [^ ]*')
        try() { COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
                ${handler#-F } hls-cache "${!#}" "" && echo "${COMPREPLY[*]}"; }
        try hls-cache swe
        try hls-cache sweep --low"#;
    // zsh completes only on a terminal, so check the arguments that the script passes to zsh's functions.
    const ZSH: &str = r#"
        autoload -Uz compinit && compinit -D -u
        source "$1" && [[ $_comps[hls-cache] = _hls-cache ]] || exit
        _describe() { print -rl -- ${${(M)commands:#swe*}%%:*} }
        _arguments() {
            if [[ -z $state ]]; then state=hls-cache line=(sweep); return; fi
            print -rl -- "$@" | sed -n 's/^\(--low-water\)=.*/\1/p'
        }
        _hls-cache_commands
        _hls-cache"#;
    const FISH: &str = r#"
        source $argv[1]
        complete -C "hls-cache swe" | string split -f1 \t
        complete -C "hls-cache sweep --low" | string split -f1 \t"#;
    let (program, script): (&str, &[&str]) = match shell {
        Shell::Bash => ("bash", &["--norc", "-c", BASH, "bash"]),
        Shell::Zsh => ("zsh", &["-f", "-c", ZSH, "zsh"]),
        _ => ("fish", &["--no-config", "-c", FISH]),
    };
    if has(program) {
        let completed = run(Command::new(program).args(script).arg(path));
        assert_eq!(completed, "sweep\n--low-water\n", "{program}");
    }
}

/// The output of a command, on both streams.
fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().expect("cannot run");
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

/// Whether `program` is installed. If not, prints `SKIPPED`, or fails if `HLS_CACHE_REQUIRE_ALL` is set.
fn has(program: &str) -> bool {
    // mandoc has no `--version`, but it can be started.
    if Command::new(program).arg("--version").stdin(Stdio::null()).output().is_ok() {
        return true;
    }
    let line = format!("SKIPPED: a test of the documentation needs {program}");
    assert!(std::env::var_os("HLS_CACHE_REQUIRE_ALL").is_none(), "{line}");
    // The test harness captures `eprintln!`, but not this.
    let _ = writeln!(io::stderr(), "{line}");
    false
}
