//! The completions: what `clap_complete` generates, with the keys of the cache for the commands that take KEY.

use clap::{Command, CommandFactory};
use clap_complete::Shell;

use crate::cli::args::Cli;

/// Each shell's script, with its file name.
pub fn scripts() -> [(&'static str, Shell, String); 3] {
    [("hls-cache.bash", Shell::Bash), ("_hls-cache", Shell::Zsh), ("hls-cache.fish", Shell::Fish)]
        .map(|(name, shell)| {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "hls-cache", &mut script);
            let script = String::from_utf8(script).expect("UTF-8");
            let script = match shell {
                Shell::Bash => bash(&script),
                Shell::Zsh => zsh(&script),
                _ => fish(&script),
            };
            (name, shell, script)
        })
}

/// The commands that take KEYs.
fn takers_of_keys() -> Vec<String> {
    let takes_keys =
        |command: &&Command| command.get_positionals().any(|arg| arg.get_id() == "key");
    let command = Cli::command();
    command.get_subcommands().filter(takes_keys).map(|command| command.get_name().into()).collect()
}

fn bash(script: &str) -> String {
    // clap_complete 4.6 writes the hyphen of a program's name in two ways, so that in bash no
    // option of a subcommand would ever be found.
    let mut script = script.replace("hls__subcmd__cache", "hls__cache");
    for command in takers_of_keys() {
        let start =
            script.find(&format!("\n        hls__cache__subcmd__{command})\n")).expect("a case");
        let end = start + script[start..].find("\n            ;;\n").expect("its end");
        let case = &script[start..end];
        let case = replace_once(case, "${cur} == -* || ${COMP_CWORD} -eq 2 ", "${cur} == -* ");
        let otherwise = "esac\n            COMPREPLY=( ";
        let case =
            replace_once(&case, otherwise, "esac\n            _hls_cache_keys || COMPREPLY=( ");
        script.replace_range(start..end, &case);
    }
    let registration = "\nif [[ \"${BASH_VERSINFO[0]}\" -eq 4 ";
    replace_once(&script, registration, &(include_str!("keys.bash").to_owned() + registration))
}

fn zsh(script: &str) -> String {
    const BEGINNING: &str = r#"
_hls-cache() {
    # All words but the one to complete: _arguments removes some from words.
    local -a hls_cache_line=("${(@)words[1,CURRENT-1]}" "${(@)words[CURRENT+1,-1]}")
"#;
    let mut keys = 0;
    let mut edited = String::new();
    for line in script.lines() {
        match line.strip_suffix(":_default' \\").filter(|line| line.starts_with("'*::key -- ")) {
            Some(line) => {
                edited += &format!("{line}:_hls-cache_keys' \\\n");
                keys += 1;
            }
            None => edited = edited + line + "\n",
        }
    }
    assert_eq!(keys, takers_of_keys().len(), "arguments that are keys");
    let edited = replace_once(&edited, "\n_hls-cache() {\n", BEGINNING);
    let registration = "\nif [ \"$funcstack[1]\" = \"_hls-cache\" ]; then\n";
    replace_once(&edited, registration, &(include_str!("keys.zsh").to_owned() + registration))
}

fn fish(script: &str) -> String {
    let mut script = script.to_owned() + include_str!("keys.fish");
    for command in takers_of_keys() {
        script += &format!(
            "complete -c hls-cache -n \"__fish_hls_cache_using_subcommand {command}\" -f -a \"(__fish_hls_cache_keys)\"\n"
        );
    }
    script
}

/// `from` is there exactly once; otherwise `clap_complete` has changed, and this file must too.
fn replace_once(script: &str, from: &str, to: &str) -> String {
    assert_eq!(script.matches(from).count(), 1, "{from}");
    script.replace(from, to)
}
