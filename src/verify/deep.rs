//! Damage that a `stat` cannot see: a truncated, swapped or spliced segment has a size like any other.
//!
//! ffmpeg makes each track's `tfdt` equal to the end of the segment before, to the tick, at every frame
//! rate, across holes in the source, and across segments that hold nothing of a track (measured, 5.1). So
//! a timeline that jumps was put together from pieces that do not belong together.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufReader, Read};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::fault::{Fault, FaultCode};
use super::fmp4::{self, Init, Rejected, Span};
use super::webvtt;
use crate::error::{Error, Operation, Reason};
use crate::layout::{self, INIT};
use crate::sys::fd;

/// By which part of a second a start may be off: a quarter. Joins of correctly resumed runs overlap by 21 to
/// 64 ms (an audio frame or a few, primed by the encoder); a misplaced segment is off by a segment's length,
/// which is whole seconds.
const TOLERATED_PART: u128 = 4;

/// Checks the content of the segments 0 to `last_segment`, of the init segment and of the subtitles in the
/// directory `entry`; `entry_path` is for messages only. Reads box headers, a few kilobytes a segment;
/// media data is never read.
///
/// Skips files that are missing, empty or not regular, which the ordinary check reports. Fails at the first
/// file that cannot be read for another reason.
pub(crate) fn check(
    entry: BorrowedFd<'_>,
    entry_path: &Path,
    last_segment: u64,
) -> Result<Vec<Fault>, Error> {
    let mut faults = Vec::new();
    if let Some(video) = Directory::open(entry, entry_path, layout::VIDEO)? {
        check_video(&video, last_segment, &mut faults)?;
    }
    if let Some(subs) = Directory::open(entry, entry_path, layout::SUBS)? {
        check_subtitles(&subs, &mut faults)?;
    }
    Ok(faults)
}

/// `video/` or `subs/`, with its path for messages.
struct Directory<'a> {
    fd: OwnedFd,
    entry_path: &'a Path,
    name: &'static str,
}

impl<'a> Directory<'a> {
    /// `None` if there is no such directory.
    fn open(
        entry: BorrowedFd<'_>,
        entry_path: &'a Path,
        name: &'static str,
    ) -> Result<Option<Self>, Error> {
        let found = fd::find_dir(entry, name)
            .map_err(|error| Error::new(Operation::Open, entry_path.join(name), error))?;
        Ok(found.map(|fd| Self { fd, entry_path, name }))
    }

    /// The file's name as faults carry it, relative to the entry.
    fn relative(&self, file: &str) -> PathBuf {
        Path::new(self.name).join(file)
    }

    fn error(&self, operation: Operation, file: &str, reason: impl Into<Reason>) -> Error {
        Error::new(operation, self.entry_path.join(self.name).join(file), reason)
    }

    /// `None` if it is missing or not a regular file.
    fn open_file(&self, file: &str) -> Result<Option<(std::fs::File, u64)>, Error> {
        match fd::open_regular(&self.fd, file) {
            Ok(opened) => Ok(opened),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(self.error(Operation::Open, file, error)),
        }
    }

    /// The numbers that `number` finds in the file names, ascending.
    fn numbers(&self, number: impl Fn(&[u8]) -> Option<u64>) -> Result<Vec<u64>, Error> {
        let failed = |error| self.error(Operation::List, "", error);
        let mut numbers = Vec::new();
        for found in rustix::fs::Dir::read_from(&self.fd).map_err(failed)? {
            let found = found.map_err(failed)?;
            numbers.extend(number(found.file_name().to_bytes()));
        }
        numbers.sort_unstable();
        Ok(numbers)
    }
}

fn check_video(video: &Directory, last_segment: u64, faults: &mut Vec<Fault>) -> Result<(), Error> {
    let mut init = None;
    if let Some((file, size @ 1..)) = video.open_file(INIT)? {
        match fmp4::read_init(&file, size) {
            Ok(tracks) => init = Some(tracks),
            Err(Rejected::Unreadable(error)) => {
                return Err(video.error(Operation::Read, INIT, error));
            }
            Err(Rejected::Damaged(code, detail)) => {
                faults.push(Fault { code, file: video.relative(INIT), detail });
            }
        }
    }

    let (mut timeline, mut next, mut read, mut foreign) = (Timeline::default(), 0, 0, 0);
    // List the directory: counting up to the number of a hostile segment could take forever.
    for number in video.numbers(layout::segment_number)? {
        if number > last_segment {
            break;
        }
        if number != next {
            timeline = Timeline::default();
        }
        next = number.saturating_add(1);
        let name = layout::segment(number);
        let Some((file, size @ 1..)) = video.open_file(&name)? else {
            timeline = Timeline::default();
            continue;
        };
        read += 1;
        match fmp4::read_segment(&file, size, init.as_ref()) {
            Ok(spans) => {
                let Some(init) = &init else { continue };
                for (code, detail) in timeline.advance(&spans, init) {
                    faults.push(Fault { code, file: video.relative(&name), detail });
                }
            }
            Err(Rejected::Unreadable(error)) => {
                return Err(video.error(Operation::Read, &name, error));
            }
            Err(Rejected::Damaged(code, detail)) => {
                timeline = Timeline::default();
                foreign += u64::from(code == FaultCode::ForeignInit);
                faults.push(Fault { code, file: video.relative(&name), detail });
            }
        }
    }
    // If no segment fits the init segment, the init segment is the wrong one: one fault, not thousands.
    if read > 1 && foreign == read {
        let is_foreign = |fault: &Fault| fault.code == FaultCode::ForeignInit;
        let first = faults.iter().find(|fault| is_foreign(fault));
        let first = first.map(|fault| fault.detail.clone()).unwrap_or_default();
        faults.retain(|fault| !is_foreign(fault));
        faults.push(Fault {
            code: FaultCode::ForeignInit,
            file: video.relative(INIT),
            detail: format!("none of {read} segments belongs to it: {first}"),
        });
    }
    Ok(())
}

fn check_subtitles(subs: &Directory, faults: &mut Vec<Fault>) -> Result<(), Error> {
    for number in subs.numbers(layout::subtitle_number)? {
        let name = layout::subtitle(number);
        let Some((file, size)) = subs.open_file(&name)? else { continue };
        let checked = if size > webvtt::MAX_SIZE {
            Err(format!("{size} bytes, where {} are the most for a subtitle", webvtt::MAX_SIZE))
        } else {
            // `take`, because it may grow while it is read.
            webvtt::check(BufReader::new(file.take(webvtt::MAX_SIZE)))
                .map_err(|error| subs.error(Operation::Read, &name, error))?
        };
        if let Err(detail) = checked {
            let (code, file) = (FaultCode::BadSubtitle, subs.relative(&name));
            faults.push(Fault { code, file, detail });
        }
    }
    Ok(())
}

/// The end of each track so far, in the init segment's ticks.
#[derive(Default)]
struct Timeline(BTreeMap<u32, Position>);

#[derive(Clone, Copy)]
struct Position {
    /// The actual end of the last segment.
    end: u64,
    /// Its end if every segment so far had started in its place. A segment that starts here after a
    /// misplaced one is in its place: the defect was reported already.
    nominal: u64,
}

impl Timeline {
    /// Adds the next segment's spans and returns the faults of their position: at most one gap and one
    /// overlap, whatever the number of tracks, since a misplaced file moves all of its tracks. A track that
    /// the segment lacks keeps its position.
    fn advance(&mut self, spans: &[Span], init: &Init) -> Vec<(FaultCode, String)> {
        let mut found: BTreeMap<FaultCode, String> = BTreeMap::new();
        let mut reported = Vec::new();
        for span in spans {
            let Some(track) = init.get(&span.track) else { continue };
            let after = |start: u64| start.saturating_add(span.duration);
            let mut position = Position { end: after(span.start), nominal: after(span.start) };
            if let Some(previous) = self.0.get(&span.track) {
                let fits = |place: u64| is_near(span.start, place, track.timescale);
                if !fits(previous.nominal) {
                    position.nominal = after(previous.nominal);
                    // Report each track once, even in a file of many fragments.
                    if !fits(previous.end) && !reported.contains(&span.track) {
                        reported.push(span.track);
                        let (code, detail) = misplaced(span, previous.end, track);
                        let details = found.entry(code).or_default();
                        let comma = if details.is_empty() { "" } else { ", " };
                        let _ = write!(details, "{comma}{detail}");
                    }
                }
            }
            self.0.insert(span.track, position);
        }
        found.into_iter().collect()
    }
}

fn is_near(start: u64, place: u64, timescale: u32) -> bool {
    u128::from(start.abs_diff(place)) * TOLERATED_PART <= u128::from(timescale)
}

fn misplaced(span: &Span, expected: u64, track: &fmp4::Track) -> (FaultCode, String) {
    let scale = u128::from(track.timescale);
    let millis = u128::from(span.start.abs_diff(expected)) * 1000 / scale;
    let seconds = format!("{}.{:03} s", millis / 1000, millis % 1000);
    let kind = match &track.handler {
        b"vide" => "video ",
        b"soun" => "audio ",
        _ => "",
    };
    let (code, place) = if span.start > expected {
        (FaultCode::TimelineGap, "after")
    } else {
        (FaultCode::TimelineOverlap, "before")
    };
    (
        code,
        format!("{kind}track {} starts {seconds} {place} the previous segment's end", span.track),
    )
}

#[cfg(test)]
mod tests;
