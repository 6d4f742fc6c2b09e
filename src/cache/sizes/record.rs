//! The record of one entry: when it may be made, and how long it is believed.

use std::time::{Duration, SystemTime};

use rustix::fs::{FileType, Stat};

use crate::cache::entry::{Entry, State, Sums};
use crate::key::Key;
use crate::layout;
use crate::root::Root;
use crate::sys::fd;
use crate::units::{age, unix_seconds};

/// What a file system tells of a file without opening it, and what no program can set back: the inode, and when
/// it last changed. In a directory every name that comes or goes moves the latter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) inode: u64,
    /// `st_ctime`, in nanoseconds since 1970.
    pub(crate) changed: i128,
}

impl Stamp {
    pub(crate) fn of(stat: &Stat) -> Self {
        let seconds = i128::from(stat.st_ctime);
        Self {
            inode: stat.st_ino,
            changed: seconds * 1_000_000_000 + i128::from(stat.st_ctime_nsec),
        }
    }

    /// Whether the last change lies so far before `clock`, the file system's own time just before it was read,
    /// that another one would have shown: file systems note changes only to the tick.
    fn is_quiet(self, clock: i128) -> bool {
        /// In nanoseconds. Measured: changes within 20 ms of each other can have the same time on ext4, xfs, btrfs
        /// and tmpfs, within 1 s on an ext4 with inodes of 128 bytes.
        const QUIET: i128 = 60 * 1_000_000_000;
        self.changed <= clock - QUIET
    }
}

/// What would move if anything came to a sealed entry or went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Marks {
    pub(crate) directory: Stamp,
    /// An entry that was resumed, its segments overwritten in place, and sealed again shows only here.
    pub(crate) complete: Stamp,
    pub(crate) video: Option<Stamp>,
    pub(crate) subs: Option<Stamp>,
}

impl Marks {
    pub(super) fn are_quiet(&self, clock: i128) -> bool {
        let inside = [self.video, self.subs].into_iter().flatten();
        [self.directory, self.complete].into_iter().chain(inside).all(|stamp| stamp.is_quiet(clock))
    }
}

/// What an entry measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) key: Key,
    /// In seconds since 1970.
    pub(crate) measured: i64,
    pub(crate) marks: Marks,
    pub(crate) sums: Sums,
}

/// An entry used or written more lately than this is always measured: such entries are few, what somebody watches
/// is among them, and only measuring shows who reads.
const LATELY: Duration = Duration::from_secs(24 * 60 * 60);

/// How long a record is believed, at least and at most: growth in place is not seen before.
const LIFETIME: (i64, i64) = (5 * 24 * 60 * 60, 9 * 24 * 60 * 60);

impl Record {
    /// Whether it is time, `seconds` after 1970, to measure anew. When depends on the key, so that the records of
    /// one sweep do not fall due together.
    pub(super) fn is_due(&self, seconds: i64) -> bool {
        let (least, most) = LIFETIME;
        let spread = self.key.as_u64() % (most - least + 1).unsigned_abs();
        let lifetime = least + i64::try_from(spread).unwrap_or(0);
        !(0..lifetime).contains(&seconds.saturating_sub(self.measured))
    }
}

/// The entry as `record` has it; `None` if anything is not as recorded, which measuring will settle.
pub(crate) fn recall(root: &Root, record: &Record, now: SystemTime) -> Option<Entry> {
    let Record { key, marks, sums, .. } = *record;
    let name = key.to_string();
    let stat = fd::stat(root.fd(), &*name).ok()?;
    let entry = Entry::new(key, State::Sealed, &stat, sums);
    let is_recent = age(now, entry.last_used.max(entry.last_written)) < LATELY;
    if is_recent || record.is_due(unix_seconds(now)) || !is_as(&stat, marks.directory) {
        return None;
    }
    let within = |inside: &str| fd::stat(root.fd(), &*format!("{name}/{inside}")).ok();
    if Stamp::of(&within(layout::COMPLETE)?) != marks.complete {
        return None;
    }
    for (inside, stamp) in [(layout::VIDEO, marks.video), (layout::SUBS, marks.subs)] {
        // Without a stamp there is no such directory: that of the entry would have moved.
        if let Some(stamp) = stamp
            && !is_as(&within(inside)?, stamp)
        {
            return None;
        }
    }
    Some(Entry { is_remembered: true, ..entry })
}

/// Whether it is the directory that `stamp` was made of, unchanged.
fn is_as(stat: &Stat, stamp: Stamp) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory && Stamp::of(stat) == stamp
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i128 = 1_000_000_000;

    fn record(key: &str) -> Record {
        let stamp = Stamp { inode: 1, changed: 0 };
        let marks = Marks { directory: stamp, complete: stamp, video: None, subs: None };
        let last_written = SystemTime::UNIX_EPOCH;
        let sums = Sums { files: 1, bytes: 1, allocated_bytes: 512, last_written };
        Record { key: key.parse().unwrap(), measured: 0, marks, sums }
    }

    #[test]
    fn what_changed_less_than_a_minute_before_the_scan_is_not_quiet() {
        let clock = 1_800_000_000 * SECOND;
        for (ago, quiet) in
            [(60 * SECOND, true), (60 * SECOND - 1, false), (0, false), (-SECOND, false)]
        {
            let stamp = Stamp { inode: 1, changed: clock - ago };
            assert_eq!(stamp.is_quiet(clock), quiet, "{ago} ns before the scan");
            let old = Stamp { inode: 1, changed: 0 };
            let quiet_marks =
                Marks { directory: old, complete: old, video: Some(old), subs: Some(old) };
            for marks in [
                Marks { directory: stamp, ..quiet_marks },
                Marks { complete: stamp, ..quiet_marks },
                Marks { video: Some(stamp), ..quiet_marks },
                Marks { subs: Some(stamp), ..quiet_marks },
            ] {
                assert_eq!(marks.are_quiet(clock), quiet, "{marks:?} at {clock}");
            }
        }
    }

    #[test]
    fn records_fall_due_after_five_to_nine_days_and_not_together() {
        const DAY: i64 = 24 * 60 * 60;
        let due = |key: &str| (0..10 * DAY).find(|&seconds| record(key).is_due(seconds)).unwrap();
        assert_eq!(due("0000000000000000"), 5 * DAY);
        assert_eq!(due(&format!("{:016x}", 4 * DAY)), 9 * DAY);
        assert_eq!(due(&format!("{:016x}", 4 * DAY + 1)), 5 * DAY);
        let keys = ["9cd7e7a0505d91ac", "1111111111111111", "ffffffffffffffff", "0123456789abcdef"];
        let mut times = keys.map(due);
        assert!(times.iter().all(|time| (5 * DAY..=9 * DAY).contains(time)), "{times:?}");
        times.sort_unstable();
        assert!(times.windows(2).all(|pair| pair[0] < pair[1]), "{times:?}");
        assert!(record(keys[0]).is_due(-1), "made in the future, as before a clock was set back");
    }
}
