//! `key`: the identity of an entry, which has to agree with every daemon to the last byte.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{Read, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::symlink;
use std::process::{Child, Stdio};
use std::thread;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use sha2::{Digest, Sha256};

use crate::common::{Run, TestCache};

/// The rule, said once more.
fn expected(absolute: impl AsRef<OsStr>, quality: &[u8], audio: i64) -> String {
    let audio = audio.to_string();
    hash(&[absolute.as_ref().as_bytes(), quality, audio.as_bytes()])
}

/// The rule of five parts, for a source that is absolute or an id.
fn expected_five(source: &str, quality: &str, audio: i64, burn: i64, encode: &[u8]) -> String {
    let [audio, burn] = [audio, burn].map(|number| number.to_string());
    let texts = [source, quality, &audio, &burn].map(str::as_bytes);
    hash(&[&texts[..], &[encode]].concat())
}

fn hash(parts: &[&[u8]]) -> String {
    hex::encode(&Sha256::digest(parts.join(&b'|'))[..8])
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

/// The columns of a line of `key-vectors-five.tsv` that are no part of the group it is run in.
struct FiveVector {
    source: Vec<u8>,
    quality: OsString,
    audio: String,
    burn: String,
    key: String,
}

/// The vectors by what one process has one of: whether the source is an id, and the settings.
fn five_vectors() -> BTreeMap<(bool, OsString), Vec<FiveVector>> {
    let bytes = |hex: &str| hex::decode(hex).expect("hex");
    let mut groups: BTreeMap<_, Vec<_>> = BTreeMap::new();
    let mut lines = include_str!("../key-vectors-five.tsv").lines();
    assert_eq!(
        lines.next(),
        Some("# source_hex\tis_id\tquality_hex\taudio\tburn\tencode_hex\tkey")
    );
    for line in lines {
        let [source, is_id, quality, audio, burn, encode, key] =
            line.split('\t').collect::<Vec<_>>().try_into().expect("seven columns");
        let group = (is_id == "1", OsString::from_vec(bytes(encode)));
        groups.entry(group).or_default().push(FiveVector {
            source: bytes(source),
            quality: OsString::from_vec(bytes(quality)),
            audio: audio.to_owned(),
            burn: burn.to_owned(),
            key: key.to_owned(),
        });
    }
    assert!(groups.values().map(Vec::len).sum::<usize>() >= 100);
    groups
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

/// A process computes every combination of its group, and the place of each follows from the order of output.
#[test]
fn every_vector_of_five_parts_is_where_the_order_of_output_has_it() {
    let cache = TestCache::new();
    for ((is_id, encode), vectors) in five_vectors() {
        let sources: BTreeSet<_> = vectors.iter().map(|v| &v.source).collect();
        let qualities: BTreeSet<_> = vectors.iter().map(|v| &v.quality).collect();
        let audios: BTreeSet<_> = vectors.iter().map(|v| &v.audio).collect();
        let burns: BTreeSet<_> = vectors.iter().map(|v| &v.burn).collect();
        let mut args = os([&"key", &"--stdin", &"-0", &"--encode", &encode]);
        args.extend(is_id.then(|| "--id".into()));
        args.extend(qualities.iter().flat_map(|quality| os([&"--quality", quality])));
        args.extend(audios.iter().flat_map(|audio| os([&"--audio", audio])));
        args.extend(burns.iter().flat_map(|burn| os([&"--burn", burn])));
        let stdin: Vec<u8> =
            sources.iter().flat_map(|source| [&source[..], b"\0"].concat()).collect();
        let printed = cache.bare(args).stdin(stdin).run().success().stdout();
        let mut keys = printed.split_terminator('\0');
        let mut of = BTreeMap::new();
        for source in &sources {
            for quality in &qualities {
                for audio in &audios {
                    for burn in &burns {
                        of.insert((*source, *quality, *audio, *burn), keys.next().unwrap());
                    }
                }
            }
        }
        assert_eq!(keys.next(), None);
        for FiveVector { source, quality, audio, burn, key } in &vectors {
            let printed = of[&(source, quality, audio, burn)];
            let source = source.escape_ascii();
            assert_eq!(printed, key, "{source} {quality:?} {audio} {burn} {encode:?}");
        }
    }
}

#[test]
fn the_documented_example_of_five_parts() {
    let cache = TestCache::new()
        .file(".encode-stamp", br#"{"fingerprint":"videotoolbox|medium|10M||0|false"}"#);
    let args = ["key", "--quality", "1080p", "/a/b/movie.mkv"];
    let encode = ["--encode", "videotoolbox|medium|10M||0|false"];
    let given = cache.bare(args.into_iter().chain(encode)).run().success();
    assert_eq!(given.stdout(), "01f0735fd1578d38\n");
    let read = cache.run(args.into_iter().chain(["--stamp"])).success().untouched();
    assert_eq!(read.stdout(), "01f0735fd1578d38\n");
    let by_environment =
        cache.bare(args.into_iter().chain(["--stamp"])).env("HLS_CACHE_ROOT", cache.root());
    assert_eq!(by_environment.run().success().stdout(), "01f0735fd1578d38\n");
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
    for (given, meant) in
        [("a//b/", "a/b"), (".", ""), ("x/../y", "y"), ("../up", "../up"), ("-dash", "-dash")]
    {
        let run = cache.bare(["key", "--quality", "q", "--", given]).cwd(&cwd).run().success();
        let meant = match meant.strip_prefix("../") {
            Some(above) => cwd.parent().unwrap().join(above),
            None if meant.is_empty() => cwd.clone(),
            None => cwd.join(meant),
        };
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

#[test]
fn five_parts_come_in_the_order_source_quality_audio_burn() {
    let cache = TestCache::new();
    let args = "key --long --encode e|f --quality hi --quality lo --audio 1 --audio -1 --burn 3 --burn -1 /b /a";
    let run = cache.bare(args.split(' ')).run().success();
    let mut lines = Vec::new();
    for source in ["/b", "/a"] {
        for quality in ["hi", "lo"] {
            for audio in [1, -1] {
                for burn in [3, -1] {
                    let key = expected_five(source, quality, audio, burn, b"e|f");
                    lines.push(format!("{key}\t{quality}\t{audio}\t{burn}\t{source}\n"));
                }
            }
        }
    }
    assert_eq!(run.stdout(), lines.concat());
}

#[test]
fn the_encoder_settings_are_any_bytes_and_burn_any_signed_64_bit_number() {
    let cache = TestCache::new();
    for encode in [&b""[..], b"|", b"-dash", b"--stamp", b"\xff\n", b" "] {
        let option = OsString::from_vec([b"--encode=", encode].concat());
        let run = cache.bare(os([&"key", &"--quality", &"q", &option, &"/s"])).run().success();
        assert_eq!(run.stdout(), expected_five("/s", "q", 0, -1, encode) + "\n", "{encode:?}");
    }
    let empty = cache.bare(["key", "--quality", "q", "--encode", "", "/s"]).run().success();
    assert_eq!(empty.stdout(), expected_five("/s", "q", 0, -1, b"") + "\n");
    for burn in [i64::MIN, -1, 0, i64::MAX] {
        let args = ["key", "--quality", "q", "--encode", "e", "/s", "--burn", &burn.to_string()];
        let run = cache.bare(args).run().success();
        assert_eq!(run.stdout(), expected_five("/s", "q", 0, burn, b"e") + "\n");
    }
}

#[test]
fn an_id_is_hashed_as_it_is_in_keys_of_three_parts_and_of_five() {
    let cache = TestCache::new();
    for id in ["0123abcd", "a//b/", "./x", "../..", ".", "/", "/a/../b", " "] {
        let three = ["key", "--quality", "q", "--id", id];
        let run = cache.bare(three).run().success();
        assert_eq!(run.stdout(), expected(id, b"q", 0) + "\n", "{id}");
        let run = cache.bare(three.into_iter().chain(["--encode", "e"])).run().success();
        assert_eq!(run.stdout(), expected_five(id, "q", 0, -1, b"e") + "\n", "{id}");
    }
    let stdin = ["key", "--quality", "q", "--encode", "e", "--id", "--stdin"];
    let run = cache.bare(stdin).stdin("a//b/\n\nc").run().code(1).complains_of("the id is empty");
    let keys = ["a//b/", "c"].map(|id| expected_five(id, "q", 0, -1, b"e") + "\n");
    assert_eq!(run.stdout(), keys.concat());
}

#[test]
fn dir_null_and_json_take_five_parts() {
    let cache = TestCache::new();
    let key = |burn| expected_five("/s", "q", 0, burn, b"e|");
    let args = ["key", "--quality", "q", "--encode", "e|", "--burn", "2", "--burn", "-1", "/s"];
    let run = cache.run(args.into_iter().chain(["--dir", "-0"])).success();
    let dirs = [2, -1].map(|burn| format!("{}\0", cache.root().join(key(burn)).display()));
    assert_eq!(run.stdout(), dirs.concat());

    let run = cache.bare(args.into_iter().chain(["--json"])).run().success();
    let objects: Vec<serde_json::Value> =
        run.stdout().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let object = |burn| {
        serde_json::json!({
            "key": key(burn), "source": "/s", "quality": "q", "audio": 0, "burn": burn, "encode": "e|",
        })
    };
    assert_eq!(objects, [2, -1].map(object));

    let raw = OsStr::from_bytes(b"\xfe|");
    let run =
        cache.bare(os([&"key", &"--json", &"--quality", &"q", &"--encode", &raw, &"/s"])).run();
    let json = run.success().json();
    assert_eq!((&json["encode"], &json["encode_hex"]), (&"\u{fffd}|".into(), &"fe7c".into()));
    assert_eq!(json["key"], expected_five("/s", "q", 0, -1, raw.as_bytes()));
}

#[test]
fn options_of_five_parts_that_make_no_sense_are_refused_in_a_line_with_the_remedy() {
    let cache = TestCache::new();
    for (options, line) in [
        (
            &["--burn", "2"][..],
            "error: --burn makes keys of five parts; add --encode TEXT or --stamp\n",
        ),
        (
            &["--stamp", "--encode", ""],
            "error: --encode and --stamp both give the encoder settings; drop one\n",
        ),
        (
            &["--stamp"],
            "error: no cache named; give --root DIR or set HLS_CACHE_ROOT; see 'hls-cache key --help'\n",
        ),
    ] {
        let args = ["key", "--quality", "q", "/s"].iter().chain(options);
        let run = cache.bare(args).run().code(2).no_stdout();
        assert_eq!(run.stderr(), line);
    }
    for options in ["--encode a --encode b", "--encode", "--encode e --burn x", "--encode e --burn"]
    {
        let args = ["key", "--quality", "q", "/s"].into_iter().chain(options.split(' '));
        cache.bare(args).run().code(2).no_stdout();
    }
}

#[test]
fn a_stamp_that_cannot_be_read_prints_no_key_and_says_what_to_do() {
    let stamp = |content: &[u8]| TestCache::new().file(".encode-stamp", content);
    let fifo = TestCache::new();
    let path = fifo.root().join(".encode-stamp");
    mknodat(CWD, &path, FileType::Fifo, Mode::from(0o600), 0).unwrap();
    let link = TestCache::new().outside("far").link(".encode-stamp", "../far/precious");
    for (cache, reason) in [
        (TestCache::new(), "No such file or directory (os error 2)"),
        (fifo, "it is not a regular file"),
        (link, "it is not a regular file"),
        (TestCache::new().dir(".encode-stamp"), "it is not a regular file"),
        (stamp(&b" ".repeat((64 << 10) + 1)), "it is larger than 65536 bytes"),
        (stamp(b""), "it is not JSON (line 1, column 0)"),
        (stamp(b"{\"fingerprint\":\"\xff\"}"), "it is not JSON (line 1, column 17)"),
        (stamp(b"{\"fingerprint\":1}"), "it has no string named fingerprint"),
    ] {
        let root = cache.root().canonicalize().unwrap();
        let expected = format!(
            "error: {}/.encode-stamp: cannot read the encoder settings: {reason}; give the settings with \
             --encode TEXT\n",
            root.display()
        );
        for more in [&[][..], &["--json"], &["--dir", "--burn", "2"]] {
            let args = ["key", "--quality", "q", "--stamp", "/s"].iter().chain(more);
            let run = cache.run(args).code(1).no_stdout().untouched();
            assert_eq!(run.stderr(), expected);
        }
    }
    let none = ["--root", "/does/not/exist", "key", "--stamp", "--quality", "q", "/s"];
    TestCache::new().bare(none).run().code(1).no_stdout().complains_of("is its disk mounted?");
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
