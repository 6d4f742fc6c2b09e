//! A table of damages to the entry in `tests/fixtures`, and entries that ffmpeg makes during the test.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Command, Stdio};

use FaultCode::{BadBox, BadSubtitle, ForeignInit, TimelineGap, TimelineOverlap, Truncated};
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::sys::mutated::mutated;

/// An entry's files by their relative name.
type Files = BTreeMap<String, Vec<u8>>;

fn load(entry: &Path) -> Files {
    let mut files = Files::new();
    for directory in ["video", "subs"] {
        let Ok(listing) = fs::read_dir(entry.join(directory)) else { continue };
        for file in listing {
            let file = file.unwrap();
            let name = format!("{directory}/{}", file.file_name().to_str().unwrap());
            files.insert(name, fs::read(file.path()).unwrap());
        }
    }
    files
}

fn fixture() -> Files {
    load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/entry"))
}

fn store(files: &Files) -> TempDir {
    let entry = TempDir::new().unwrap();
    for (name, bytes) in files {
        let path = entry.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    entry
}

fn faults_in(entry: &Path, last_segment: u64) -> Vec<Fault> {
    let fd = fs::File::open(entry).unwrap();
    check(fd.as_fd(), entry, last_segment).unwrap()
}

fn faults(files: &Files) -> Vec<Fault> {
    faults_in(store(files).path(), u64::MAX)
}

fn segment(number: u64) -> String {
    format!("video/seg-{number}.m4s")
}

fn edit(files: &mut Files, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
    change(files.get_mut(name).unwrap());
}

/// Where the `nth` box of that type begins, searched as bytes: four letters do not occur by chance in
/// the first kilobytes of the fixture.
fn find(bytes: &[u8], kind: [u8; 4], nth: usize) -> usize {
    let mut places = bytes.windows(4).enumerate().filter(|(_, four)| *four == kind);
    places.nth(nth).unwrap().0 - 4
}

/// Overwrites bytes at `offset` from the start of a box.
fn patch(bytes: &mut [u8], kind: [u8; 4], nth: usize, offset: usize, with: &[u8]) {
    let at = find(bytes, kind, nth) + offset;
    bytes[at..at + with.len()].copy_from_slice(with);
}

/// Where a damage is put: the middle of five segments.
const SEG: &str = "video/seg-2.m4s";
const INIT: &str = "video/init.mp4";
const SUB: &str = "subs/sub-0.vtt";

type Change = (&'static str, fn(&mut Files));
type Damage = (&'static str, fn(&mut Files), &'static [(FaultCode, &'static str)]);

/// Exactly these faults: one damage must not be reported twice.
const DAMAGES: &[Damage] = &[
    ("cut by 1 byte", |f| edit(f, SEG, |b| b.truncate(b.len() - 1)), &[(Truncated, SEG)]),
    ("cut by 7 bytes", |f| edit(f, SEG, |b| b.truncate(b.len() - 7)), &[(Truncated, SEG)]),
    ("cut in half", |f| edit(f, SEG, |b| b.truncate(b.len() / 2)), &[(Truncated, SEG)]),
    ("cut to 3 bytes", |f| edit(f, SEG, |b| b.truncate(3)), &[(Truncated, SEG)]),
    ("cut inside the first header", |f| edit(f, SEG, |b| b.truncate(5)), &[(Truncated, SEG)]),
    ("text without boxes", |f| edit(f, SEG, |b| b.fill(b'x')), &[(BadBox, SEG)]),
    ("cut inside moof", |f| edit(f, SEG, |b| b.truncate(300)), &[(Truncated, SEG)]),
    (
        "cut right before mdat",
        |f| edit(f, SEG, |b| b.truncate(find(b, *b"mdat", 0))),
        &[(Truncated, SEG)],
    ),
    (
        "cut inside the header of mdat",
        |f| edit(f, SEG, |b| b.truncate(find(b, *b"mdat", 0) + 5)),
        &[(Truncated, SEG)],
    ),
    ("zeroed", |f| edit(f, SEG, |b| b.fill(0)), &[(BadBox, SEG)]),
    ("first page zeroed", |f| edit(f, SEG, |b| b[..4096].fill(0)), &[(BadBox, SEG)]),
    (
        "sample table zeroed",
        |f| edit(f, SEG, |b| patch(b, *b"trun", 0, 400, &[0; 200])),
        &[(BadBox, SEG)],
    ),
    ("styp of a wrong type", |f| edit(f, SEG, |b| b[4] ^= 1), &[(BadBox, SEG)]),
    (
        "moof of a wrong type",
        |f| edit(f, SEG, |b| patch(b, *b"moof", 0, 4, b"moov")),
        &[(BadBox, SEG)],
    ),
    (
        "mdat hidden as free space",
        |f| edit(f, SEG, |b| patch(b, *b"mdat", 0, 4, b"free")),
        &[(Truncated, SEG)],
    ),
    (
        "mdat past the end",
        |f| edit(f, SEG, |b| patch(b, *b"mdat", 0, 0, &[0, 1, 0, 0])),
        &[(Truncated, SEG)],
    ),
    (
        "mdat of 2^64 - 1 bytes",
        |f| {
            edit(f, SEG, |b| {
                patch(b, *b"mdat", 0, 0, &[0, 0, 0, 1]);
                patch(b, *b"mdat", 0, 8, &[255; 8]);
            });
        },
        &[(Truncated, SEG)],
    ),
    ("box of 7 bytes", |f| edit(f, SEG, |b| b[3] = 7), &[(BadBox, SEG)]),
    (
        "traf past its moof",
        |f| edit(f, SEG, |b| patch(b, *b"traf", 0, 0, &[0, 9])),
        &[(BadBox, SEG)],
    ),
    (
        "more samples counted than listed",
        |f| edit(f, SEG, |b| patch(b, *b"trun", 0, 12, &[255; 4])),
        &[(BadBox, SEG)],
    ),
    (
        "samples placed outside mdat",
        |f| edit(f, SEG, |b| patch(b, *b"trun", 0, 16, &[0, 0, 0, 0])),
        &[(BadBox, SEG)],
    ),
    (
        "samples placed before the file",
        |f| edit(f, SEG, |b| patch(b, *b"trun", 0, 16, &[0x80, 0, 0, 0])),
        &[(BadBox, SEG)],
    ),
    ("no tfdt", |f| edit(f, SEG, |b| patch(b, *b"tfdt", 0, 4, b"free")), &[(BadBox, SEG)]),
    ("5 bytes of junk", |f| edit(f, SEG, |b| b.extend(b"junk\n")), &[(BadBox, SEG)]),
    (
        "text appended",
        |f| edit(f, SEG, |b| b.extend(b"Segmentation fault (core dumped)\n")),
        &[(BadBox, SEG)],
    ),
    ("zeros appended", |f| edit(f, SEG, |b| b.extend([0; 512])), &[(BadBox, SEG)]),
    (
        "zeros taken into an mdat without a size",
        |f| {
            edit(f, SEG, |b| {
                patch(b, *b"mdat", 0, 0, &[0; 4]);
                b.extend([0; 512]);
            });
        },
        &[(BadBox, SEG)],
    ),
    (
        "an error page",
        |f| edit(f, SEG, |b| *b = b"<!DOCTYPE html><title>502</title>".to_vec()),
        &[(BadBox, SEG)],
    ),
    (
        "the init in a segment's place",
        |f| {
            let init = f[INIT].clone();
            f.insert(SEG.into(), init);
        },
        &[(BadBox, SEG)],
    ),
    (
        "a media header before another's media",
        |f| {
            let other = f[&segment(1)].clone();
            edit(f, SEG, |b| {
                let media = b.split_off(find(b, *b"mdat", 0));
                *b = other[..find(&other, *b"mdat", 0)].to_vec();
                b.extend(media);
            });
        },
        &[(BadBox, SEG)],
    ),
    (
        "neighbours swapped",
        |f| {
            let (second, third) = (f[&segment(1)].clone(), f[SEG].clone());
            f.insert(segment(1), third);
            f.insert(SEG.into(), second);
        },
        &[(TimelineGap, "video/seg-1.m4s"), (TimelineOverlap, SEG)],
    ),
    (
        "a segment repeated in the next one's place",
        |f| {
            let repeated = f[&segment(1)].clone();
            f.insert(SEG.into(), repeated);
        },
        &[(TimelineOverlap, SEG)],
    ),
    (
        "a later segment in this one's place",
        |f| {
            let later = f[&segment(3)].clone();
            f.insert(SEG.into(), later);
        },
        &[(TimelineGap, SEG)],
    ),
    (
        "one left out, the rest renumbered",
        |f| {
            for number in 2..4 {
                let next = f[&segment(number + 1)].clone();
                f.insert(segment(number), next);
            }
            f.remove(&segment(4));
        },
        &[(TimelineGap, SEG)],
    ),
    (
        "a restart at zero",
        |f| {
            let (first, second) = (f[&segment(0)].clone(), f[&segment(1)].clone());
            f.extend([(SEG.to_owned(), first), (segment(3), second)]);
            f.remove(&segment(4));
        },
        &[(TimelineOverlap, SEG)],
    ),
    (
        "the first segment in the last one's place",
        |f| {
            let first = f[&segment(0)].clone();
            f.insert(segment(4), first);
        },
        &[(TimelineOverlap, "video/seg-4.m4s")],
    ),
    (
        "the first segment in this one's place",
        |f| {
            let first = f[&segment(0)].clone();
            f.insert(SEG.into(), first);
        },
        &[(TimelineOverlap, SEG)],
    ),
    (
        "two segments in one file",
        |f| {
            let next = f[&segment(3)].clone();
            edit(f, SEG, |b| b.extend(next));
        },
        &[(TimelineOverlap, "video/seg-3.m4s")],
    ),
    (
        "only the audio is late",
        |f| edit(f, SEG, |b| patch(b, *b"tfdt", 1, 12, &[0, 0, 1])),
        &[(TimelineGap, SEG)],
    ),
    (
        "decode time of 2^64 - 1",
        |f| edit(f, SEG, |b| patch(b, *b"tfdt", 0, 12, &[255; 8])),
        &[(TimelineGap, SEG)],
    ),
    (
        "a segment with a track of its own",
        |f| edit(f, SEG, |b| patch(b, *b"tfhd", 1, 12, &[0, 0, 0, 9])),
        &[(ForeignInit, SEG)],
    ),
    (
        "a segment of another frame rate",
        |f| edit(f, SEG, |b| patch(b, *b"sidx", 0, 16, &15360_u32.to_be_bytes())),
        &[(ForeignInit, SEG)],
    ),
    (
        "the only segment, of another frame rate",
        |f| {
            f.retain(|name, _| name == INIT || *name == segment(0));
            edit(f, &segment(0), |b| patch(b, *b"sidx", 0, 16, &15360_u32.to_be_bytes()));
        },
        &[(ForeignInit, "video/seg-0.m4s")],
    ),
    (
        "an init of another frame rate",
        |f| edit(f, INIT, |b| patch(b, *b"mdhd", 0, 20, &15360_u32.to_be_bytes())),
        &[(ForeignInit, INIT)],
    ),
    (
        "an init with other track ids",
        |f| {
            edit(f, INIT, |b| {
                patch(b, *b"tkhd", 0, 20, &[0, 0, 0, 7]);
                patch(b, *b"trex", 0, 12, &[0, 0, 0, 7]);
            });
        },
        &[(ForeignInit, INIT)],
    ),
    ("init cut by 1 byte", |f| edit(f, INIT, |b| b.truncate(b.len() - 1)), &[(Truncated, INIT)]),
    ("init cut after ftyp", |f| edit(f, INIT, |b| b.truncate(28)), &[(Truncated, INIT)]),
    (
        "init cut inside the header of moov",
        |f| edit(f, INIT, |b| b.truncate(find(b, *b"moov", 0) + 5)),
        &[(Truncated, INIT)],
    ),
    ("init cut to 3 bytes", |f| edit(f, INIT, |b| b.truncate(3)), &[(Truncated, INIT)]),
    ("init zeroed", |f| edit(f, INIT, |b| b.fill(0)), &[(BadBox, INIT)]),
    (
        "init without ftyp",
        |f| edit(f, INIT, |b| b[4..8].copy_from_slice(b"free")),
        &[(BadBox, INIT)],
    ),
    (
        "init of one empty box",
        |f| edit(f, INIT, |b| *b = b"\0\0\0\x08free".to_vec()),
        &[(BadBox, INIT)],
    ),
    (
        "init of a file that is not fragmented",
        |f| edit(f, INIT, |b| patch(b, *b"mvex", 0, 4, b"free")),
        &[(BadBox, INIT)],
    ),
    (
        "init without tracks",
        |f| {
            edit(f, INIT, |b| {
                patch(b, *b"trak", 0, 4, b"free");
                patch(b, *b"trak", 0, 4, b"free");
            });
        },
        &[(BadBox, INIT)],
    ),
    (
        "init with a timescale of 0",
        |f| edit(f, INIT, |b| patch(b, *b"mdhd", 0, 20, &[0; 4])),
        &[(BadBox, INIT)],
    ),
    (
        "init with a segment appended",
        |f| {
            let media = f[SEG].clone();
            edit(f, INIT, |b| b.extend(media));
        },
        &[(BadBox, INIT)],
    ),
    ("subtitle empty", |f| edit(f, SUB, Vec::clear), &[(BadSubtitle, SUB)]),
    (
        "subtitle is a page",
        |f| edit(f, SUB, |b| *b = b"<!DOCTYPE html>\n<title>502</title>\n".to_vec()),
        &[(BadSubtitle, SUB)],
    ),
    ("subtitle zeroed", |f| edit(f, SUB, |b| b.fill(0)), &[(BadSubtitle, SUB)]),
    ("subtitle with a zeroed end", |f| edit(f, SUB, |b| b[100..].fill(0)), &[(BadSubtitle, SUB)]),
    ("subtitle with a broken time", |f| edit(f, SUB, |b| b[10] = b'x'), &[(BadSubtitle, SUB)]),
    (
        "subtitle that ends before it starts",
        |f| edit(f, SUB, |b| b[8] = b'9'),
        &[(BadSubtitle, SUB)],
    ),
];

#[test]
fn every_damage_is_found_and_said_once() {
    let mut wrong = Vec::new();
    for (name, damage, expected) in DAMAGES {
        let mut files = fixture();
        damage(&mut files);
        let found = faults(&files);
        let seen: Vec<_> =
            found.iter().map(|fault| (fault.code, fault.file.to_str().unwrap())).collect();
        if seen != *expected {
            wrong.push(format!("{name}: expected {expected:?}, found {found:#?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_healthy_entry_is_not_accused() {
    assert_eq!(faults(&fixture()), []);
}

#[test]
fn faults_that_the_ordinary_check_reports_are_not_repeated() {
    let silent: &[Change] = &[
        ("missing segment", |f| drop(f.remove(SEG))),
        ("empty segment", |f| edit(f, SEG, Vec::clear)),
        ("missing init", |f| drop(f.remove(INIT))),
        ("empty init", |f| edit(f, INIT, Vec::clear)),
        ("no subtitles", |f| drop(f.remove(SUB))),
        ("names that are not ours", |f| {
            for name in ["video/seg-007.m4s", "video/seg-+1.m4s", "video/seg-.m4s", "subs/x.vtt"] {
                f.insert(name.into(), b"?".to_vec());
            }
        }),
    ];
    for (name, change) in silent {
        let mut files = fixture();
        change(&mut files);
        assert_eq!(faults(&files), [], "{name}");
    }
    let entry = store(&fixture());
    std::os::unix::fs::symlink("seg-0.m4s", entry.path().join("video/seg-5.m4s")).unwrap();
    fs::create_dir(entry.path().join("video/seg-6.m4s")).unwrap();
    assert_eq!(faults_in(entry.path(), u64::MAX), []);
    assert_eq!(faults(&Files::new()), []);
}

#[test]
fn a_hostile_segment_number_does_not_loop() {
    let mut files = fixture();
    files.insert(segment(u64::MAX), b"?".to_vec());
    files.insert("video/seg-18446744073709551616.m4s".into(), b"?".to_vec());
    let found = faults(&files);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].file, Path::new(&segment(u64::MAX)));
}

#[test]
fn segments_beyond_the_last_are_not_judged() {
    let mut files = fixture();
    edit(&mut files, &segment(4), |bytes| bytes.fill(0));
    assert_eq!(faults_in(store(&files).path(), 3), []);
}

#[test]
fn boxes_are_judged_without_a_usable_init() {
    let mut files = fixture();
    edit(&mut files, INIT, |bytes| bytes.fill(0));
    edit(&mut files, SEG, |bytes| bytes.truncate(5000));
    let codes: Vec<_> = faults(&files).iter().map(|fault| fault.code).collect();
    assert_eq!(codes, [BadBox, Truncated]);
}

#[test]
fn a_misplaced_segment_names_each_track_and_its_seconds() {
    let mut files = fixture();
    let repeated = files[&segment(1)].clone();
    files.insert(SEG.into(), repeated);
    assert_eq!(
        faults(&files)[0].detail,
        "video track 1 starts 4.000 s before the previous segment's end, \
         audio track 2 starts 4.010 s before the previous segment's end"
    );
}

#[test]
fn a_start_may_be_off_by_a_quarter_of_a_second_either_way_and_no_more() {
    let near = |start| is_near(start, 10_000, 12_800);
    assert!(near(10_000 + 3200) && near(10_000 - 3200));
    assert!(!near(10_000 + 3201) && !near(10_000 - 3201));
    assert!(!is_near(1, 0, 3), "a third of a second");
}

#[test]
fn a_subtitle_is_read_up_to_the_bound_and_refused_beyond_it() {
    let refused = |size| {
        let entry = store(&Files::from([(SUB.into(), b"WEBVTT\n".to_vec())]));
        let file = fs::File::options().write(true).open(entry.path().join(SUB)).unwrap();
        file.set_len(size).unwrap();
        let found = faults_in(entry.path(), 0);
        assert_eq!(found.len(), 1, "zeros are damage, too");
        found[0].detail == format!("{size} bytes, where 67108864 are the most for a subtitle")
    };
    assert!(!refused(64 << 20));
    assert!(refused((64 << 20) + 1));
}

/// Prints that a test was skipped for lack of `tool`; fails if `HLS_CACHE_REQUIRE_ALL` is set, as in CI.
fn missing(tool: &str) -> bool {
    let found = Command::new(tool).arg("-version").stdout(Stdio::null()).status();
    if found.is_ok_and(|status| status.success()) {
        return false;
    }
    assert!(std::env::var_os("HLS_CACHE_REQUIRE_ALL").is_none(), "{tool} is required here");
    // Not `eprintln!`, which a passing test's output is captured from.
    let _ = writeln!(io::stderr(), "SKIPPED, NOTHING WAS TESTED: {tool} is not installed");
    true
}

const WITH_AUDIO: &str = "-f lavfi -i sine=sample_rate=48000 -c:a aac -ac 1";
/// Without `frag_discont` ffmpeg starts `tfdt` at 0 whatever the offset says.
const RESUMED: &str = "-output_ts_offset 16 -hls_segment_options movflags=+frag_discont";
const RESUMED_WRONG: &str = "-output_ts_offset 16";

/// Runs ffmpeg as a daemon does, into `entry`; `output` are more output options.
fn encode(entry: &Path, rate: &str, audio: &str, seconds: u32, first_segment: u64, output: &str) {
    fs::create_dir_all(entry.join("video")).unwrap();
    let arguments = format!(
        "-nostdin -v error -y -f lavfi -i testsrc=size=64x36:rate={rate} {audio} -t {seconds} \
         -c:v libx264 -preset ultrafast -pix_fmt yuv420p -force_key_frames expr:gte(t,n_forced*4) \
         -f hls -hls_time 4 -hls_playlist_type vod -hls_segment_type fmp4 -hls_list_size 0 \
         -hls_flags independent_segments -hls_fmp4_init_filename init.mp4 {output} \
         -start_number {first_segment} \
         -hls_segment_filename video/seg-%d.m4s video/ffmpeg-{first_segment}.m3u8"
    );
    let words = arguments.split_ascii_whitespace();
    let status = Command::new("ffmpeg").args(words).current_dir(entry).status().unwrap();
    assert!(status.success(), "{arguments}");
}

/// The errors that ffmpeg's own demuxer and decoders print for the init and all segments.
fn ffmpeg_errors(files: &Files) -> String {
    let whole = TempDir::new().unwrap();
    let mut bytes = files[INIT].clone();
    for number in (0..).take_while(|&number| files.contains_key(&segment(number))) {
        bytes.extend(&files[&segment(number)]);
    }
    let path = whole.path().join("whole.mp4");
    fs::write(&path, bytes).unwrap();
    let decoded = Command::new("ffmpeg")
        .args(["-nostdin", "-v", "error", "-i"])
        .arg(path)
        .args(["-f", "null", "-"])
        .output();
    String::from_utf8_lossy(&decoded.unwrap().stderr).into_owned()
}

#[test]
fn healthy_runs_are_not_accused_at_any_frame_rate() {
    if missing("ffmpeg") {
        return;
    }
    for rate in ["25", "24000/1001", "30"] {
        for audio in ["", WITH_AUDIO] {
            let entry = TempDir::new().unwrap();
            encode(entry.path(), rate, audio, 16, 0, "");
            assert_eq!(faults_in(entry.path(), u64::MAX), [], "{rate} {audio}");
            assert_eq!(ffmpeg_errors(&load(entry.path())), "", "{rate} {audio}");
            encode(entry.path(), rate, audio, 10, 4, RESUMED);
            assert_eq!(faults_in(entry.path(), u64::MAX), [], "resumed {rate} {audio}");
        }
    }
}

#[test]
fn a_run_resumed_without_its_offset_is_one_overlap() {
    if missing("ffmpeg") {
        return;
    }
    for (rate, audio) in [("25", WITH_AUDIO), ("24000/1001", "")] {
        let entry = TempDir::new().unwrap();
        encode(entry.path(), rate, audio, 16, 0, "");
        encode(entry.path(), rate, audio, 10, 4, RESUMED_WRONG);
        let found = faults_in(entry.path(), u64::MAX);
        assert_eq!(found.len(), 1, "{found:#?}");
        assert_eq!((found[0].code, &*found[0].file), (TimelineOverlap, segment(4).as_ref()));
        assert!(found[0].detail.contains("track 1 starts 16.0"), "{}", found[0].detail);
    }
}

#[test]
fn an_init_of_another_encode_is_foreign() {
    if missing("ffmpeg") {
        return;
    }
    let others = [("30", WITH_AUDIO), ("24000/1001", WITH_AUDIO), ("25", "")];
    for (rate, audio) in others {
        let other = TempDir::new().unwrap();
        encode(other.path(), rate, audio, 8, 0, "");
        let other = load(other.path());
        let mut files = fixture();
        files.insert(INIT.into(), other[INIT].clone());
        let found = faults(&files);
        let found: Vec<_> = found.iter().map(|fault| (fault.code, &*fault.file)).collect();
        assert_eq!(found, [(ForeignInit, Path::new(INIT))], "{rate} {audio}");
    }
}

#[test]
fn a_segment_from_another_run_is_found() {
    if missing("ffmpeg") {
        return;
    }
    let other = TempDir::new().unwrap();
    encode(other.path(), "25", WITH_AUDIO, 8, 0, "");
    let mut files = fixture();
    files.insert(SEG.into(), load(other.path())[&segment(0)].clone());
    let found = faults(&files);
    let found: Vec<_> = found.iter().map(|fault| (fault.code, &*fault.file)).collect();
    assert_eq!(found, [(TimelineOverlap, Path::new(SEG))]);
}

/// `cargo test --release -- --ignored --nocapture thousand`
#[test]
#[ignore = "prints a measurement"]
fn a_thousand_segments() {
    if missing("ffmpeg") {
        return;
    }
    let entry = TempDir::new().unwrap();
    encode(entry.path(), "5", WITH_AUDIO, 4000, 0, "");
    for _ in 0..3 {
        let start = std::time::Instant::now();
        let found = faults_in(entry.path(), u64::MAX);
        let _ = writeln!(io::stderr(), "{} faults in {:?}", found.len(), start.elapsed());
    }
}

/// Most changes where the boxes are, in the first kilobyte or two.
fn changed_head((name, mut head): (String, Vec<u8>)) -> impl Strategy<Value = (String, Vec<u8>)> {
    let rest = head.split_off(head.len().min(1500));
    mutated(head).prop_map(move |head| (name.clone(), [&head[..], &rest].concat()))
}

fn changed_files() -> impl Strategy<Value = Vec<(String, Vec<u8>)>> {
    let some = prop::sample::subsequence(fixture().into_iter().collect::<Vec<_>>(), 1..5);
    some.prop_flat_map(|some| some.into_iter().map(changed_head).collect::<Vec<_>>())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Also where one file leads to the next: timelines, and segments that do not fit the init segment.
    #[test]
    fn an_entry_with_any_changed_files_is_judged_without_panic(changed in changed_files()) {
        let mut files = fixture();
        files.extend(changed);
        for fault in faults(&files) {
            let file = fault.file.to_str().unwrap();
            prop_assert!(files.contains_key(file), "{file}: {}", fault.detail);
        }
    }
}
