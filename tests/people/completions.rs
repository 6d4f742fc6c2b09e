//! What bash, zsh and fish offer for KEY, with the completions that are delivered. bash and zsh are typed at on a
//! terminal, and a key inserts all that they offer; fish says it itself.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::common::need;

const KEYS: [&str; 3] = ["0123456789abcdef", "0fffffffffffffff", "fedcba9876543210"];

/// A command line, with the cursor between its two parts.
#[derive(Debug)]
struct Line {
    head: String,
    tail: String,
}

fn at_end(head: impl Into<String>) -> Line {
    inside(head, "")
}

fn inside(head: impl Into<String>, tail: &str) -> Line {
    Line { head: head.into(), tail: tail.into() }
}

/// A directory to type commands in.
struct Desk {
    base: TempDir,
    /// `HLS_CACHE_ROOT`.
    default: Option<PathBuf>,
}

impl Desk {
    fn new() -> Self {
        Self::below(&std::env::temp_dir())
    }

    fn below(directory: &Path) -> Self {
        let mut builder = tempfile::Builder::new();
        let base = builder.prefix("hls-cache-test-").tempdir_in(directory).expect("tempdir");
        fs::create_dir(base.path().join("home")).expect("home");
        Self { base, default: None }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.base.path().join(name)
    }

    /// Makes a cache with the keys, and with names that are none of its entries.
    fn cache(self, name: &str, keys: &[&str]) -> Self {
        let root = self.path(name);
        fs::create_dir_all(&root).expect("a cache");
        for key in keys {
            fs::create_dir(root.join(key)).expect("an entry");
        }
        for foreign in ["0123456789abcde", "0123456789abcdef0", "0123456789ABCDEF", "lost+found"] {
            fs::create_dir(root.join(foreign)).expect("something foreign");
        }
        fs::create_dir(root.join(".trash.0123456789abcdef.0123456789abcdef")).expect("trash");
        fs::write(root.join("00000000000000ff"), "").expect("a file");
        std::os::unix::fs::symlink("/", root.join("11111111111111ff")).expect("a link");
        self
    }

    fn default(mut self, name: &str) -> Self {
        self.default = Some(self.path(name));
        self
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let path = std::env::var_os("PATH").expect("PATH");
        command.current_dir(self.base.path()).env_clear().env("PATH", path);
        command.env("TERM", "dumb").env("HOME", self.path("home")).env("ZDOTDIR", self.base.path());
        command.env("WORDS", self.path("words"));
        if let Some(root) = &self.default {
            command.env("HLS_CACHE_ROOT", root);
        }
        command
    }

    /// Asserts what every shell that is there offers for each line.
    #[track_caller]
    fn offers(&self, lines: &[(Line, &[&str])]) {
        let all: Vec<&Line> = lines.iter().map(|(line, _)| line).collect();
        let fish = || {
            // fish shows a completion nothing behind the cursor.
            let before =
                |line: &Line| if line.tail.is_empty() { self.fish(&line.head) } else { None };
            all.iter().map(|line| before(line)).collect()
        };
        for (shell, offered) in [
            ("bash", self.inserted(&BASH, &all)),
            ("zsh", self.inserted(&ZSH, &all)),
            ("fish", fish()),
        ] {
            for ((line, expected), offered) in lines.iter().zip(offered) {
                let Some(offered) = offered else { continue };
                assert_eq!(offered, *expected, "{shell}: {line:?}");
            }
        }
    }

    /// Types these keys in an interactive shell, and returns what the screen showed.
    fn typed(&self, shell: &Interactive, keys: &str) -> Option<String> {
        if !need::tool(shell.name) || !need::tool("script") {
            return None;
        }
        let setup = shell.setup.replace("COMPLETIONS", completions().to_str().expect("UTF-8"));
        fs::write(self.path(".zshrc"), &setup).expect("setup");
        let mut script = self.command("script");
        script.args(["-qec", shell.start, "/dev/null"]);
        let session = script.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut session = session.expect("script");
        let mut keyboard = session.stdin.take().expect("piped");
        keyboard.write_all(format!("{keys}\nexit\n").as_bytes()).expect("typed");
        drop(keyboard);
        let output = session.wait_with_output().expect("script");
        Some(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Types each line twice, once without completing it, and returns the words that are new the second time. Options
    /// do not count: bash offers them if there is no key.
    #[track_caller]
    fn inserted(&self, shell: &Interactive, lines: &[&Line]) -> Vec<Option<Vec<String>>> {
        fs::write(self.path("words"), "").expect("words");
        let mut keys = String::new();
        for Line { head, tail } in lines {
            let typed = format!("{}{tail}{HOME}{head}", shell.behind);
            keys += &format!("{typed}\n{typed}{COMPLETE}\n");
        }
        let Some(screen) = self.typed(shell, &keys) else { return Vec::new() };
        let words = fs::read_to_string(self.path("words")).expect("words");
        let runs = words.lines().map(|line| line.split('\0').map(String::from).collect());
        let runs: Vec<Vec<String>> = runs.collect();
        assert_eq!(runs.len(), lines.len() * 2, "{}: {lines:?}\n{screen}", shell.name);
        for error in ["find:", "No such file", "ermission denied", "not found", "no matches"] {
            assert!(!screen.contains(error), "{}: {lines:?}\n{screen}", shell.name);
        }
        let new = |typed: &[String], completed: &[String]| {
            let mut new = completed.to_vec();
            for word in typed {
                // Once: a key that was typed and is inserted is new.
                if let Some(place) = new.iter().position(|new| new == word) {
                    new.remove(place);
                }
            }
            new.retain(|word| !word.starts_with('-'));
            new.sort_unstable();
            Some(new)
        };
        runs.chunks(2).map(|runs| new(&runs[0], &runs[1])).collect()
    }

    #[track_caller]
    fn fish(&self, head: &str) -> Option<Vec<String>> {
        if !need::tool("fish") {
            return None;
        }
        let mut fish = self.command("fish");
        let script = "source $argv[1]/hls-cache.fish; complete -C $argv[2]";
        let output = fish
            .args(["--no-config", "-c", script])
            .arg(completions())
            .arg(head)
            .output()
            .expect("fish");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && errors.is_empty(), "fish: {head}<TAB>\n{errors}");
        let lines = String::from_utf8(output.stdout).expect("UTF-8");
        let words = lines.lines().map(|line| line.split('\t').next().expect("a word").to_owned());
        let mut offered: Vec<String> = words.collect();
        offered.sort_unstable();
        Some(offered)
    }
}

/// A shell to type at, in which `hls-cache` notes its arguments, and [`COMPLETE`] inserts all completions.
struct Interactive {
    name: &'static str,
    start: &'static str,
    /// What stands behind the cursor, before the rest of the line.
    behind: &'static str,
    setup: &'static str,
}

const BASH: Interactive = Interactive {
    name: "bash",
    start: "bash --noprofile --rcfile .zshrc -i",
    behind: " ",
    setup: r#"
        source COMPLETIONS/hls-cache.bash
        hls-cache() { printf '%s\0' "$@" >>"$WORDS"; echo >>"$WORDS"; }
        bind '"\C-xa": insert-completions'
        "#,
};

const ZSH: Interactive = Interactive {
    name: "zsh",
    start: "zsh -d -i",
    // It takes the first space for the one that follows each completion.
    behind: "  ",
    setup: r#"
        bindkey -e
        setopt interactive_comments
        fpath=(COMPLETIONS $fpath)
        autoload -Uz compinit && compinit -D -u
        hls-cache() { print -rN -- "$@" >>"$WORDS"; echo >>"$WORDS"; }
        zle -C all-matches complete-word _generic
        bindkey '^Xa' all-matches
        zstyle ':completion:all-matches::::' completer _all_matches _complete
        zstyle ':completion:all-matches:*' insert yes
        "#,
};

/// Keys: to the beginning of the line.
const HOME: &str = "\x01";
/// Keys: insert all completions.
const COMPLETE: &str = "\x18a";

fn completions() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("completions")
}

#[test]
fn keys_are_the_names_of_entries_in_the_root_and_nothing_else() {
    let desk = Desk::new().cache("root", &KEYS).default("root");
    let mut lines: Vec<(Line, &[&str])> = vec![(at_end("hls-cache sweep fedc"), &[])];
    for command in ["verify", "stats", "invalidate"] {
        lines.push((at_end(format!("hls-cache {command} ")), &KEYS));
        lines.push((at_end(format!("hls-cache {command} 0")), &KEYS[..2]));
        // Neither what is in this directory, nor what the root has besides.
        for none in ["00", "11", "l", "r", "0123456789abcdee"] {
            lines.push((at_end(format!("hls-cache {command} {none}")), &[]));
        }
    }
    desk.offers(&lines);
}

#[test]
fn a_key_on_the_line_is_not_offered_again() {
    let desk = Desk::new().cache("root", &KEYS).default("root");
    let [first, second, third] = KEYS;
    desk.offers(&[
        (at_end(format!("hls-cache invalidate {second} ")), &[first, third]),
        (at_end(format!("hls-cache invalidate --force {third} {first} ")), &[second]),
        (inside("hls-cache invalidate ", first), &[second, third]),
    ]);
}

#[test]
fn the_root_of_the_command_line_comes_before_that_of_the_environment() {
    let desk =
        Desk::new().cache("here", &KEYS[..1]).cache("home/there", &KEYS[1..]).default("here");
    let there = desk.path("home/there").display().to_string();
    let mut lines: Vec<(Line, &[&str])> = vec![(at_end("hls-cache stats "), &KEYS[..1])];
    for root in [
        format!("--root {there}"),
        format!("--root={there}"),
        "--root home/there".into(),
        "--root ~/there".into(),
        "--root $HOME/there".into(),
    ] {
        lines.push((at_end(format!("hls-cache {root} stats ")), &KEYS[1..]));
        lines.push((at_end(format!("hls-cache --json {root} invalidate -n ")), &KEYS[1..]));
        lines.push((at_end(format!("hls-cache verify {root} --deep f")), &KEYS[2..]));
        lines.push((inside("hls-cache stats ", &root), &KEYS[1..]));
    }
    desk.offers(&lines);
}

#[test]
fn a_root_may_have_any_name() {
    let name = r#"it's a "cache" of $HOME & 50%: (old)"#;
    let desk = Desk::new().cache(name, &KEYS);
    let base = desk.base.path().display();
    let single = format!("'{base}/{}'", name.replace('\'', r"'\''"));
    let double = format!(r#""{base}/{}""#, name.replace('"', r#"\""#).replace('$', r"\$"));
    let escape = |c: char| if c.is_alphanumeric() { vec![c] } else { vec!['\\', c] };
    let escaped: String = name.chars().flat_map(escape).collect();
    let mut lines: Vec<(Line, &[&str])> = Vec::new();
    for root in [single, double, format!("{base}/{escaped}"), escaped] {
        lines.push((at_end(format!("hls-cache stats --root {root} ")), &KEYS));
        lines.push((at_end(format!("hls-cache --root={root} stats f")), &KEYS[2..]));
    }
    desk.offers(&lines);
    desk.default(name).offers(&[(at_end("hls-cache stats f"), &KEYS[2..])]);
}

#[test]
fn without_a_root_that_can_be_read_nothing_is_offered_and_nothing_said() {
    let desk = Desk::new().cache("root", &KEYS);
    fs::write(desk.path("file"), "").expect("a file");
    let mut lines: Vec<(Line, &[&str])> = Vec::new();
    for root in ["", "--root nowhere", "--root=nowhere", "--root file", "--root ''", "--root="] {
        lines.push((at_end(format!("hls-cache {root} stats ")), &[]));
        lines.push((at_end(format!("hls-cache stats {root} f")), &[]));
    }
    desk.offers(&lines);
}

/// Files are offered where they may stand, as before.
#[test]
fn the_values_of_options_are_no_keys() {
    let desk = Desk::new().cache("root", &KEYS).default("root");
    fs::write(desk.path("fedora.mkv"), "").expect("a file");
    desk.offers(&[
        (at_end("hls-cache stats --textfile fed"), &["fedora.mkv"]),
        (at_end("hls-cache invalidate --source fed"), &["fedora.mkv"]),
    ]);
}

#[test]
fn no_command_on_the_line_is_run_to_complete_it() {
    let desk = Desk::new().cache("root", &KEYS).default("root");
    let lines = [
        "$(touch ran)",
        "`touch ran`",
        "\"$(touch ran)\"",
        "\"`touch ran`\"",
        "<(touch ran)",
        "$PWD[$(touch ran)]",
        "${PWD:-$(touch ran)}",
        "x;touch${IFS}ran",
        "x\\;`touch ran`",
    ]
    .map(|root| format!("hls-cache stats --root {root} f"));
    // A comment is not run.
    let keys = lines.each_ref().map(|line| format!("{line}{COMPLETE}{HOME}#\n")).concat();
    for shell in [BASH, ZSH] {
        desk.typed(&shell, &keys);
        assert!(!desk.path("ran").exists(), "{}", shell.name);
    }
    for line in lines {
        desk.fish(&line);
        assert!(!desk.path("ran").exists(), "fish: {line}");
    }
}

#[test]
fn ten_thousand_entries_are_listed_at_once() {
    /// Each shell takes under a tenth of a second on an idle machine.
    const LIMIT: Duration = Duration::from_secs(5);
    let keys: Vec<String> =
        (1 << 40..).take(10_000).map(|number: u64| format!("{number:016x}")).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    // On a disk, it takes longer to remove them than to list them.
    let desk = Desk::below(Path::new("/dev/shm")).cache("root", &keys).default("root");
    let start = Instant::now();
    if let Some(offered) = desk.fish("hls-cache stats ") {
        assert_eq!(offered.len(), keys.len());
    }
    let bash = r#"
        source "$1/hls-cache.bash"
        COMP_WORDS=(hls-cache stats "") COMP_CWORD=2 COMP_LINE="hls-cache stats " COMP_POINT=16
        _hls__cache hls-cache "" stats
        echo "${#COMPREPLY[@]}""#;
    if need::tool("bash") {
        let output = desk
            .command("bash")
            .args(["-c", bash, "bash"])
            .arg(completions())
            .output()
            .expect("bash");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "10000\n", "{output:?}");
    }
    assert!(start.elapsed() < LIMIT, "{:?}", start.elapsed());
}
