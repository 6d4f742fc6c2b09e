//! The text of the file: a header with version and count, a line an entry, a checksum.
//!
//! ```text
//! hls-cache sizes 1 2
//! KEY MEASURED DIR_INODE DIR_CTIME COMPLETE_INODE COMPLETE_CTIME VIDEO_INODE VIDEO_CTIME SUBS_INODE SUBS_CTIME FILES BYTES ALLOCATED NEWEST_MTIME
//! …
//! sha256 HEX
//! ```
//!
//! MEASURED is in seconds since 1970, the other times are in nanoseconds; `- -` stands for a directory that is not
//! there. Sorted by key. A file that differs from this in anything is no memory at all: a record too many or too
//! few means that somebody else has written it.

use std::str::{FromStr, Split};
use std::time::{Duration, SystemTime};

use sha2::{Digest, Sha256};

use super::record::{Marks, Record, Stamp};
use crate::cache::entry::Sums;
use crate::key::to_hex;
use crate::units::instant;

const HEADER: &str = "hls-cache sizes 1";

pub(super) fn write(records: &[Record]) -> String {
    let mut text = format!("{HEADER} {}\n", records.len());
    for record in records {
        let Record { key, measured, marks, sums } = record;
        let Marks { directory, complete, video, subs } = marks;
        let Sums { files, bytes, allocated_bytes, last_written } = sums;
        text += &format!("{key} {measured}");
        for stamp in [Some(directory), Some(complete), video.as_ref(), subs.as_ref()] {
            match stamp {
                Some(Stamp { inode, changed }) => text += &format!(" {inode} {changed}"),
                None => text += " - -",
            }
        }
        let written = nanoseconds(*last_written);
        text += &format!(" {files} {bytes} {allocated_bytes} {written}\n");
    }
    let checksum = checksum(&text);
    text + &checksum
}

/// `None` unless it is what [`write`] makes, whole and in order.
pub(super) fn parse(text: &str) -> Option<Vec<Record>> {
    let checked = &text[..text.rfind("sha256 ")?];
    if text[checked.len()..] != checksum(checked) {
        return None;
    }
    let (header, lines) = checked.split_once('\n')?;
    let count: usize = header.strip_prefix(HEADER)?.strip_prefix(' ')?.parse().ok()?;
    let records = lines.lines().map(record).collect::<Option<Vec<_>>>()?;
    let is_sorted = records.is_sorted_by(|one, next| one.key < next.key);
    (records.len() == count && is_sorted).then_some(records)
}

fn record(line: &str) -> Option<Record> {
    let mut fields = Fields(line.split(' '));
    let record = Record {
        key: fields.next()?,
        measured: fields.next()?,
        marks: Marks {
            directory: fields.stamp()?,
            complete: fields.stamp()?,
            video: fields.stamp_or_none().ok()?,
            subs: fields.stamp_or_none().ok()?,
        },
        sums: Sums {
            files: fields.next()?,
            bytes: fields.next()?,
            allocated_bytes: fields.next()?,
            last_written: time(fields.next()?)?,
        },
    };
    fields.0.next().is_none().then_some(record)
}

struct Fields<'a>(Split<'a, char>);

/// A line that is no record.
struct Garbled;

impl Fields<'_> {
    fn next<T: FromStr>(&mut self) -> Option<T> {
        self.0.next()?.parse().ok()
    }

    fn stamp(&mut self) -> Option<Stamp> {
        Some(Stamp { inode: self.next()?, changed: self.next()? })
    }

    fn stamp_or_none(&mut self) -> Result<Option<Stamp>, Garbled> {
        let mut ahead = self.0.clone();
        if (ahead.next(), ahead.next()) == (Some("-"), Some("-")) {
            self.0 = ahead;
            return Ok(None);
        }
        self.stamp().map(Some).ok_or(Garbled)
    }
}

fn nanoseconds(time: SystemTime) -> i128 {
    let number = |length: Duration| i128::try_from(length.as_nanos()).unwrap_or(0);
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => number(after),
        Err(before) => -number(before.duration()),
    }
}

fn time(nanoseconds: i128) -> Option<SystemTime> {
    const SECOND: i128 = 1_000_000_000;
    let seconds = i64::try_from(nanoseconds.div_euclid(SECOND)).ok()?;
    Some(instant(seconds, u32::try_from(nanoseconds.rem_euclid(SECOND)).ok()?))
}

fn checksum(text: &str) -> String {
    format!("sha256 {}\n", to_hex(&Sha256::digest(text)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::key::Key;

    fn stamps() -> impl Strategy<Value = Stamp> {
        (any::<u64>(), any::<i64>())
            .prop_map(|(inode, changed)| Stamp { inode, changed: changed.into() })
    }

    fn records() -> impl Strategy<Value = Vec<Record>> {
        let marks =
            (stamps(), stamps(), proptest::option::of(stamps()), proptest::option::of(stamps()));
        let sums = (
            any::<u64>(),
            any::<u64>(),
            any::<u64>(),
            -(1_i64 << 40)..1 << 40,
            0..1_000_000_000_u32,
        );
        proptest::collection::btree_map(any::<u64>(), (any::<i64>(), marks, sums), 0..8).prop_map(
            |found| {
                let record = |(key, (measured, marks, sums)): (u64, (i64, _, _))| {
                    let (directory, complete, video, subtitles) = marks;
                    let (files, bytes, allocated_bytes, seconds, fraction) = sums;
                    let last_written = instant(seconds, fraction);
                    Record {
                        key: Key::from_bytes(format!("{key:016x}").as_bytes()).unwrap(),
                        measured,
                        marks: Marks { directory, complete, video, subs: subtitles },
                        sums: Sums { files, bytes, allocated_bytes, last_written },
                    }
                };
                found.into_iter().map(record).collect()
            },
        )
    }

    fn signed(text: &str) -> String {
        text.to_owned() + &checksum(text)
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(records in records()) {
            prop_assert_eq!(parse(&write(&records)), Some(records));
        }

        #[test]
        fn a_file_with_any_other_byte_is_no_memory(
            records in records(), place in any::<proptest::sample::Index>(), byte in 0..128_u8,
        ) {
            let mut text = write(&records).into_bytes();
            let place = place.index(text.len());
            prop_assume!(text[place] != byte);
            text[place] = byte;
            prop_assert_eq!(parse(std::str::from_utf8(&text).unwrap()), None);
        }

        #[test]
        fn a_file_cut_short_is_no_memory(records in records(), end in any::<proptest::sample::Index>()) {
            let text = write(&records);
            prop_assert_eq!(parse(&text[..end.index(text.len())]), None);
        }

        #[test]
        fn any_text_is_read_or_refused(text in "\\PC*", lines in "([0-9a-f -]{0,80}\n){0,4}") {
            prop_assert_eq!(parse(&text), None);
            // The checksum is right; the rest need not be.
            parse(&signed(&text));
            parse(&signed(&lines));
            parse(&signed(&format!("{HEADER} 1\n{lines}")));
        }
    }

    #[test]
    fn version_count_and_order_must_fit() {
        let one = "0000000000000001 0 1 2 3 4 5 6 - - 1 2 3 4\n";
        let two = "0000000000000002 0 1 2 3 4 5 6 - - 1 2 3 4\n";
        let length = |text: &str| parse(&signed(text)).map(|records| records.len());
        assert_eq!(length(&format!("{HEADER} 2\n{one}{two}")), Some(2));
        for (text, what) in [
            (format!("{HEADER} 1\n{one}{two}"), "count"),
            (format!("{HEADER} 2\n{two}{one}"), "order"),
            (format!("{HEADER} 2\n{one}{one}"), "twice"),
            (format!("hls-cache sizes 2 1\n{one}"), "version"),
            (format!("{HEADER} 1\n{}", one.replace(" 6 ", " - ")), "half a stamp"),
            (format!("{HEADER} 1\n{}", one.replace(" 6 - -", " 6")), "too few"),
            (format!("{HEADER} 1\n{}", one.replace(" 4\n", " 4 5\n")), "too many"),
            (format!("{HEADER} 1\n{}", one.replace(" 0 1 ", " 0 - ")), "no directory"),
            (
                format!("{HEADER} 1\n{}", one.replace(" 2 3 4\n", " 18446744073709551616 3 4\n")),
                "overflow",
            ),
            (
                format!(
                    "{HEADER} 1\n{}",
                    one.replace(" 4\n", " 170141183460469231731687303715884105727\n")
                ),
                "time",
            ),
        ] {
            assert_eq!(length(&text), None, "{what}: {text}");
        }
    }
}
