//! `key`: the identity of an entry, which has to agree with every daemon to the last byte.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{Read, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::symlink;
use std::process::{Child, Stdio};
use std::thread;

use sha2::{Digest, Sha256};

use crate::common::{Run, TestCache};

/// The rule, said once more.
fn expected(absolute: impl AsRef<OsStr>, quality: &[u8], audio: i64) -> String {
    let audio = audio.to_string();
    let text = [absolute.as_ref().as_bytes(), quality, audio.as_bytes()].join(&b'|');
    hex::encode(&Sha256::digest(text)[..8])
}

struct Vector {
    source: OsString,
    quality: OsString,
    audio: String,
    key: String,
}

fn vectors() -> Vec<Vector> {
    let bytes = |hex: &str| OsString::from_vec(hex::decode(hex).expect("hex"));
    let vectors: Vec<_> = include_str!("../key-vectors.tsv")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let [source, quality, audio, key] =
                line.split('\t').collect::<Vec<_>>().try_into().expect("four columns");
            Vector {
                source: bytes(source),
                quality: bytes(quality),
                audio: audio.to_owned(),
                key: key.to_owned(),
            }
        })
        .collect();
    assert!(vectors.len() >= 400);
    vectors
}

fn os<const N: usize>(args: [&dyn AsRef<OsStr>; N]) -> Vec<OsString> {
    args.into_iter().map(|arg| arg.as_ref().to_owned()).collect()
}

#[test]
fn every_vector_of_the_reference_implementation_given_as_an_argument() {
    let cache = TestCache::new();
    for Vector { source, quality, audio, key } in vectors() {
        let args = os([&"key", &"--quality", &quality, &"--audio", &audio, &"--", &source]);
        let run = cache.bare(args).run().success();
        assert_eq!(run.stdout(), format!("{key}\n"), "{source:?} {quality:?} {audio}");
    }
}

#[test]
fn every_vector_of_the_reference_implementation_as_a_record_on_stdin() {
    let cache = TestCache::new();
    let mut groups: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for Vector { source, quality, audio, key } in vectors() {
        groups.entry((quality, audio)).or_default().push((source, key));
    }
    for ((quality, audio), records) in groups {
        let (stdin, keys): (Vec<_>, Vec<_>) = records
            .into_iter()
            .map(|(source, key)| ([source.as_bytes(), b"\0"].concat(), key + "\0"))
            .unzip();
        let args = os([&"key", &"--stdin", &"-0", &"--quality", &quality, &"--audio", &audio]);
        let run = cache.bare(args).stdin(stdin.concat()).run().success();
        assert_eq!(run.stdout(), keys.concat(), "{quality:?} {audio}");
    }
}

#[test]
fn the_working_directory_is_pwd_where_it_names_the_same_directory() {
    let cache = TestCache::new();
    let base = cache.base().canonicalize().unwrap();
    fs::create_dir_all(base.join("real/sub")).unwrap();
    fs::create_dir(base.join("other")).unwrap();
    symlink("real", base.join("link")).unwrap();
    let (real, link) = (base.join("real"), base.join("link"));

    let believed = [
        (link.clone(), link.clone()),
        (link.join("."), link.clone()),
        (link.join("sub/.."), link.clone()),
        (base.join("link//"), link.clone()),
        (real.clone(), real.clone()),
    ];
    let disbelieved = [
        base.join("other"),
        base.join("missing"),
        "link".into(),
        ".".into(),
        "../link".into(),
        "".into(),
    ];
    let cases = believed.into_iter().chain(disbelieved.into_iter().map(|lie| (lie, real.clone())));
    for (pwd, directory) in cases {
        let run = cache
            .bare(["key", "--quality", "q", "./movie.mkv"])
            .cwd(&real)
            .env("PWD", &pwd)
            .run()
            .success();
        let key = expected(directory.join("movie.mkv"), b"q", 0);
        assert_eq!(run.stdout(), key + "\n", "PWD={}", pwd.display());
    }
    let unset = cache.bare(["key", "--quality", "q", "movie.mkv"]).cwd(&link).run().success();
    assert_eq!(unset.stdout(), expected(real.join("movie.mkv"), b"q", 0) + "\n", "no PWD");
}

#[test]
fn dots_are_removed_by_text_alone_though_a_symlink_would_say_otherwise() {
    let cache = TestCache::new();
    let base = cache.base().canonicalize().unwrap();
    fs::create_dir_all(base.join("far/away")).unwrap();
    symlink("far/away", base.join("near")).unwrap();
    let source = base.join("near/../movie.mkv");
    let run = cache.bare(os([&"key", &"--quality", &"q", &source])).run().success();
    assert_eq!(run.stdout(), expected(base.join("movie.mkv"), b"q", 0) + "\n");
}

#[test]
fn a_relative_source_is_the_same_as_the_absolute_one() {
    let cache = TestCache::new();
    let cwd = cache.base().canonicalize().unwrap();
    let up = cwd.parent().unwrap().join("up");
    for (given, meant) in [("a//../../up", up), ("-dash", cwd.join("-dash"))] {
        let run = cache.bare(["key", "--quality", "q", "--", given]).cwd(&cwd).run().success();
        assert_eq!(run.stdout(), expected(meant, b"q", 0) + "\n", "{given}");
    }
}

#[test]
fn every_combination_comes_in_the_order_source_quality_audio() {
    let args = ["key", "--long", "--quality", "hi", "--quality", "lo", "--audio", "1"];
    let cache = TestCache::new();
    let run = cache.bare(args.into_iter().chain(["--audio", "-1", "/b", "/a"])).run().success();
    let mut lines = Vec::new();
    for source in ["/b", "/a"] {
        for quality in ["hi", "lo"] {
            for audio in [1, -1] {
                let key = expected(source, quality.as_bytes(), audio);
                lines.push(format!("{key}\t{quality}\t{audio}\t{source}\n"));
            }
        }
    }
    assert_eq!(run.stdout(), lines.concat());
}

#[test]
fn the_audio_track_defaults_to_0_and_may_be_any_signed_64_bit_number() {
    let cache = TestCache::new();
    let run = cache.bare(["key", "--quality", "1080p", "/a/b/movie.mkv"]).run().success();
    assert_eq!(run.stdout(), "9cd7e7a0505d91ac\n");
    for audio in [i64::MIN, -1, i64::MAX] {
        let number = audio.to_string();
        for option in [vec!["--audio", &number], vec![&*format!("--audio={audio}")]] {
            let args = ["key", "--quality", "q", "/s"].into_iter().chain(option);
            let run = cache.bare(args).run().success();
            assert_eq!(run.stdout(), expected("/s", b"q", audio) + "\n");
        }
    }
    for beyond in ["9223372036854775808", "-9223372036854775809", "1.0", "one", ""] {
        let option = format!("--audio={beyond}");
        cache.bare(["key", "--quality", "q", &option, "/s"]).run().code(2).no_stdout();
    }
}

#[test]
fn lines_on_stdin_need_no_last_newline_and_are_taken_as_bytes() {
    let cache = TestCache::new();
    for stdin in [&b"/\xff one\n/two"[..], b"/\xff one\n/two\n"] {
        let run = cache.bare(["key", "--quality", "q", "--stdin"]).stdin(stdin).run().success();
        let one = expected(OsStr::from_bytes(b"/\xff one"), b"q", 0);
        assert_eq!(run.stdout(), format!("{one}\n{}\n", expected("/two", b"q", 0)));
    }
}

#[test]
fn null_records_carry_newlines_in_and_raw_bytes_out() {
    let source = OsStr::from_bytes(b"/a\nb\xff");
    let cache = TestCache::new();
    let run = cache
        .bare(["key", "--stdin", "--null", "--long", "--quality", "q"])
        .stdin(&b"/a\nb\xff\0"[..])
        .run()
        .success();
    let line = [expected(source, b"q", 0).as_bytes(), b"\tq\t0\t/a\nb\xff\0"].concat();
    assert_eq!(run.output.stdout, line);
}

#[test]
fn dir_prints_the_entry_directory_and_needs_no_cache() {
    let cache = TestCache::new();
    let run = cache.run(["key", "--dir", "--quality", "q", "/s"]).success();
    let dir = cache.root().join(expected("/s", b"q", 0));
    assert_eq!(run.stdout(), format!("{}\n", dir.display()));

    let none = ["--root", "/does/not/exist", "key", "--dir", "--quality", "q", "/s"];
    let run = cache.bare(none).run().success();
    assert_eq!(run.stdout(), format!("/does/not/exist/{}\n", expected("/s", b"q", 0)));

    cache.bare(["key", "--dir", "--quality", "q", "/s"]).run().code(2).no_stdout();
}

#[test]
fn json_has_one_object_a_line_and_hex_only_for_what_is_not_utf8() {
    let cache = TestCache::new();
    let raw = OsStr::from_bytes(b"/\xff");
    let args = os([&"key", &"--json", &"--quality", &"q", &"--audio", &"-1", &"/é", &raw]);
    let run = cache.bare(args).run().success();
    let objects: Vec<serde_json::Value> =
        run.stdout().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(
        objects,
        [
            serde_json::json!({
                "key": expected("/é", b"q", -1), "source": "/é", "quality": "q", "audio": -1,
            }),
            serde_json::json!({
                "key": expected(raw, b"q", -1), "source": "/\u{fffd}", "source_hex": "2fff",
                "quality": "q", "audio": -1,
            }),
        ]
    );
    let quality = OsStr::from_bytes(b"\xfe|");
    let run = cache.bare(os([&"key", &"--json", &"--quality", &quality, &"/s"])).run().success();
    assert_eq!(run.json()["quality_hex"], "fe7c");
    assert_eq!(run.json()["key"], expected("/s", b"\xfe|", 0));
}

#[test]
fn an_empty_source_does_not_keep_the_others_from_being_printed() {
    let cache = TestCache::new();
    let keys = expected("/a", b"q", 0) + "\n" + &expected("/b", b"q", 0) + "\n";
    let reported = |run: Run<'_>| {
        assert!(!run.stderr().is_empty(), "nothing said about the empty source");
        assert_eq!(run.stdout(), keys);
    };
    reported(cache.bare(["key", "--quality", "q", "/a", "", "/b"]).run().code(1));
    reported(cache.bare(["key", "--quality", "q", "--stdin"]).stdin("/a\n\n/b\n").run().code(1));
}

#[test]
fn a_quality_may_be_empty_and_one_has_to_be_given() {
    let cache = TestCache::new();
    let run = cache.bare(["key", "--quality", "", "/s"]).run().success();
    assert_eq!(run.stdout(), expected("/s", b"", 0) + "\n");
    cache.bare(["key", "/s"]).run().code(2).no_stdout().complains_of("--quality");
    cache.bare(["key", "--quality", "q"]).run().code(2).no_stdout();
}

/// A run that waits for sources; its standard error is short enough for the pipe to hold.
fn reading_stdin() -> Child {
    let cache = TestCache::new();
    let mut process = cache.bare(["key", "--quality", "q", "--stdin"]).process();
    // Not in the cache's directory, which goes: `key` looks at none.
    process.current_dir("/").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    process.spawn().unwrap()
}

#[test]
fn a_million_lines_are_streamed_in_little_memory() {
    const LINES: usize = 1_000_000;
    const RESIDENT_KIB: u64 = 32 << 10;
    let mut child = reading_stdin();
    let mut stdout = child.stdout.take().unwrap();
    let reader = thread::spawn(move || {
        let mut keys = Vec::new();
        stdout.read_to_end(&mut keys).unwrap();
        keys
    });
    let mut stdin = child.stdin.take().unwrap();
    let mut lines = std::io::BufWriter::new(&mut stdin);
    for n in 0..LINES {
        writeln!(lines, "/media/films/a film with a name of some length ({n}).mkv").unwrap();
    }
    drop(lines);
    // All but a pipe's worth has been taken in, and the process is still there to be asked.
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    drop(stdin);
    assert!(child.wait().unwrap().success());
    assert_eq!(reader.join().unwrap().len(), LINES * 17);
    assert!(peak < RESIDENT_KIB, "{peak} KiB resident");
}

#[test]
fn a_reader_that_goes_away_ends_the_run_quietly() {
    let mut child = reading_stdin();
    drop(child.stdout.take());
    let mut stdin = child.stdin.take().unwrap();
    // Its keys are more than any buffer holds: it cannot but notice.
    let records = b"/source\n".repeat(10_000);
    let ended = (0..100).any(|_| stdin.write_all(&records).is_err());
    assert!(ended, "it went on reading");
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn a_lost_working_directory_does_not_keep_the_others_from_being_printed() {
    let cache = TestCache::new();
    let keys = expected("/a", b"q", 0) + "\n" + &expected("/b", b"q", 0) + "\n";
    let lost = ["sh", "-c", "mkdir lost; cd lost; rmdir ../lost; exec \"$@\"", "sh"];
    let run = cache.bare(["key", "--quality", "q", "/a", "relative", "/b"]).under(lost).run();
    let run = run.code(1);
    assert_eq!(run.stdout(), keys, "{run}");
}
