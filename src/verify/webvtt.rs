//! `WebVTT`, as far as damage shows: the signature, and timings that a parser accepts.
//!
//! Rules: W3C `WebVTT` 1, sections 4.1 and 6.1. Lenient wherever a player is: text that is not UTF-8 is
//! shown with replacement characters (ffmpeg copies what a badly labelled source holds, and would write
//! the same again), a block without timings is dropped (ffmpeg writes one for a cue with an empty line in
//! it). So a file cut off in the middle of a cue's text cannot be told from a healthy one.

use std::io::{self, BufRead, Read};

/// A cue's text is a few hundred bytes a line; styled captions have a few thousand. Only this much of a
/// line is held; a longer one is no subtitle.
const MAX_LINE: u64 = 64 << 10;

/// Three hours of captions take 300 KB, the same drawn frame by frame some MB. Bounds the time that a
/// hostile file costs.
pub(crate) const MAX_SIZE: u64 = 64 << 20;

/// The position of a line in the file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// After an empty line: timings, a cue's name, or `NOTE`, `STYLE`, `REGION`.
    BlockStart,
    /// After a line that is a cue's name if timings follow.
    AfterName,
    /// Anything is valid until the next empty line.
    Rest,
}

/// Reads a whole subtitle file. `Ok(Err(why))` is damage, with one line for people.
pub(crate) fn check(mut file: impl BufRead) -> io::Result<Result<(), String>> {
    let mut line = Vec::new();
    let mut place = None;
    for number in 1_u64.. {
        line.clear();
        file.by_ref().take(MAX_LINE).read_until(b'\n', &mut line)?;
        if line.is_empty() {
            break;
        }
        if line.len() as u64 == MAX_LINE {
            return Ok(Err(format!("line {number} is longer than {MAX_LINE} bytes")));
        }
        let text = line.strip_suffix(b"\n").unwrap_or(&line);
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        let Some(now) = place else {
            if !is_signature(text) {
                return Ok(Err("does not begin with WEBVTT".to_owned()));
            }
            // Header lines such as X-TIMESTAMP-MAP follow at once, up to an empty line.
            place = Some(Place::Rest);
            continue;
        };
        // A disk block that was never written (power cut) reads as NUL bytes; text has none.
        if text.contains(&0) {
            return Ok(Err(format!("line {number} holds NUL bytes")));
        }
        place = Some(match now {
            _ if text.is_empty() => Place::BlockStart,
            Place::Rest => Place::Rest,
            Place::BlockStart if is_not_a_cue(text) => Place::Rest,
            Place::BlockStart | Place::AfterName => match arrow(text) {
                Some((start, rest)) if is_interval(start, rest) => Place::Rest,
                Some(_) => {
                    let shown = text[..text.len().min(80)].escape_ascii();
                    return Ok(Err(format!("line {number} is not a timing: {shown}")));
                }
                None if now == Place::BlockStart => Place::AfterName,
                None => Place::Rest,
            },
        });
    }
    Ok(if place.is_some() { Ok(()) } else { Err("is empty".to_owned()) })
}

fn is_signature(line: &[u8]) -> bool {
    let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
    match line.strip_prefix(b"WEBVTT") {
        // A lone CR ends a line, too, in very old files.
        Some(rest) => matches!(rest, [] | [b' ' | b'\t' | b'\r', ..]),
        None => false,
    }
}

fn is_not_a_cue(line: &[u8]) -> bool {
    let ends_word = |rest: &[u8]| matches!(rest, [] | [b' ' | b'\t', ..]);
    [&b"NOTE"[..], b"STYLE", b"REGION"]
        .iter()
        .any(|word| line.strip_prefix(*word).is_some_and(ends_word))
}

/// The parts of the line before and after `-->`.
fn arrow(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = line.windows(3).position(|three| three == b"-->")?;
    Some((&line[..at], &line[at + 3..]))
}

/// Two times in order; cue settings may follow the second. Equal ones are allowed: ffmpeg writes them for
/// a cue without a duration.
fn is_interval(start: &[u8], rest: &[u8]) -> bool {
    let end = rest.trim_ascii_start().split(u8::is_ascii_whitespace).next().unwrap_or(rest);
    match (milliseconds(start.trim_ascii()), milliseconds(end)) {
        (Some(start), Some(end)) => start <= end,
        _ => false,
    }
}

/// `MM:SS.mmm` or `HH:MM:SS.mmm`, where hours have two digits or more.
fn milliseconds(time: &[u8]) -> Option<u64> {
    let digits = |part: &[u8]| -> Option<u64> {
        part.iter().all(u8::is_ascii_digit).then(|| std::str::from_utf8(part).ok()?.parse().ok())?
    };
    let (clock, [b'.', millis @ ..]) = time.split_last_chunk::<4>()? else { return None };
    let mut parts = clock.rsplit(|&byte| byte == b':');
    let (seconds, minutes, hours) = (parts.next()?, parts.next()?, parts.next());
    if seconds.len() != 2 || minutes.len() != 2 || parts.next().is_some() {
        return None;
    }
    let hours = match hours {
        None => 0,
        Some(hours) if hours.len() >= 2 => digits(hours)?,
        Some(_) => return None,
    };
    let (minutes, seconds) = (digits(minutes)?, digits(seconds)?);
    if minutes > 59 || seconds > 59 {
        return None;
    }
    let seconds = hours.checked_mul(3600)?.checked_add(minutes * 60 + seconds)?;
    seconds.checked_mul(1000)?.checked_add(digits(millis)?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sys::mutated::mutated;

    const SUBTITLE: &[u8] = include_bytes!("../../tests/fixtures/entry/subs/sub-0.vtt");

    fn damage(text: impl AsRef<[u8]>) -> Option<String> {
        check(text.as_ref()).unwrap().err()
    }

    #[test]
    fn what_players_accept_is_accepted() {
        let healthy: &[&[u8]] = &[
            b"WEBVTT",
            b"WEBVTT\n",
            b"\xef\xbb\xbfWEBVTT - a title\r\n\r\n",
            b"WEBVTT\tKind: captions\n\n00:01.000 --> 00:01.000\nA cue without a duration\n",
            b"WEBVTT\nX-TIMESTAMP-MAP=MPEGTS:900000,LOCAL:00:00:00.000\n\n00:00.000 --> 00:02.000\nx",
            b"WEBVTT\n\n\n\n1\n00:59:59.999 --> 01:00:01.000 align:start position:10%\nx\n\n\n",
            b"WEBVTT\r\n\r\n1234:00:00.000\t-->\t1234:00:00.001\r\nHours have no upper end\r\n",
            b"WEBVTT\n\nNOTE a --> b\nin a comment\n\nSTYLE\n::cue { color: red }\n\nREGION\nid:x\n",
            b"WEBVTT\n\n00:01.000 --> 00:02.000\nA cue with an empty line\n\nin its text\nand more\n",
            b"WEBVTT\n\n00:01.000 --> 00:02.000\nAn arrow --> in the text\n",
            b"WEBVTT\n\na block\nwithout timings\nand an arrow --> in it\n",
            b"WEBVTT\n\n00:59.999 --> 01:00.000\nInto the next minute\n",
            b"WEBVTT\n\n00:01.000 --> 00:02.000\nLatin-1: caf\xe9\n",
        ];
        for text in healthy {
            assert_eq!(damage(text), None, "{}", text.escape_ascii());
        }
    }

    #[test]
    fn what_no_player_parses_is_damage() {
        let long = format!("WEBVTT\n\n{}", "x".repeat(100_000));
        let damaged: &[&[u8]] = &[
            b"",
            b"\n",
            b"WEBVT",
            b"WEBVTTX\n",
            b"webvtt\n",
            b" WEBVTT\n",
            b"1\n00:00:01,000 --> 00:00:02,000\nSubRip\n",
            b"WEBVTT\n\n00:00:01,000 --> 00:00:02,000\nSubRip under a signature\n",
            b"WEBVTT\n\n00:02.000 --> 00:01.000\nbackwards\n",
            b"WEBVTT\n\n-1:59.000 --> 00:01.000\nbefore zero\n",
            b"WEBVTT\n\n00:60.000 --> 00:61.000\n",
            b"WEBVTT\n\n0:00:01.000 --> 0:00:02.000\n",
            b"WEBVTT\n\n0:01.000 --> 0:02.000\n",
            b"WEBVTT\n\n00:1.000 --> 00:2.000\n",
            b"WEBVTT\n\n00:00:00:01.000 --> 00:00:00:02.000\n",
            b"WEBVTT\n\n00:01.00 --> 00:02.000\n",
            b"WEBVTT\n\n00:01.000 --> \n",
            b"WEBVTT\n\nname\n00:01.000 --> soon\n",
            b"WEBVTT\n\n99999999999999999999:00:00.000 --> 99999999999999999999:00:01.000\n",
            b"WEBVTT\n\n5124095576030431:00:00.000 --> 5124095576030431:00:01.000\n",
            b"WEBVTT\n\n00:01.000 --> 00:02.000\nx\n\0\0\0\0",
            long.as_bytes(),
        ];
        for text in damaged {
            assert!(damage(text).is_some(), "{}", text[..text.len().min(80)].escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
            damage(&bytes);
            damage([b"WEBVTT\n\n", &bytes[..]].concat());
        }

        #[test]
        fn a_changed_subtitle_never_panics(text in mutated(SUBTITLE)) {
            damage(&text);
        }

        #[test]
        fn a_subtitle_whose_cues_are_in_order_is_healthy(
            cues in prop::collection::vec((any::<u32>(), prop_oneof![Just(0), any::<u32>()], "[^\n\r\0]{1,40}"), 0..8),
            with_hours: bool,
            end in prop::sample::select(vec!["\n", "\r\n"]),
        ) {
            let time = |ms: u32| match (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60, ms % 1000) {
                (0, m, s, ms) if !with_hours => format!("{m:02}:{s:02}.{ms:03}"),
                (h, m, s, ms) => format!("{h:02}:{m:02}:{s:02}.{ms:03}"),
            };
            let mut text = format!("WEBVTT{end}{end}");
            for (start, length, line) in cues {
                let (start, stop) = (time(start), time(start.saturating_add(length)));
                text += &format!("{start} --> {stop}{end}{line}{end}{end}");
            }
            prop_assert_eq!(damage(&text), None);
        }

        #[test]
        fn arbitrary_timings_never_panic(line in "[-0-9:. >]{0,40}") {
            damage(format!("WEBVTT\n\n{line}\n"));
        }
    }
}
