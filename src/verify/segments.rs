//! Compares the segments that an entry should have with those it has.

use std::ffi::{CStr, CString};
use std::io::BufReader;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::FileType;
use rustix::io::Errno;

use super::describe;
use super::fault::{Fault, FaultCode};
use super::playlist::{LONGEST_PLAYLIST, highest_in_playlist};
use crate::error::{Error, Operation};
use crate::layout;
use crate::sys::fd;
use crate::sys::walk::{Visit, Visitor};

/// Whether a file has bytes, is empty, or is not a regular file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    Bytes,
    Empty,
    Not(FileType),
}

/// The content of `video/`.
#[derive(Default)]
pub(super) struct Video {
    pub(super) init: Option<Content>,
    pub(super) segments: Vec<(u64, Content)>,
    pub(super) playlists: Vec<CString>,
    /// The highest segment that a playlist names.
    pub(super) highest_named: Option<u64>,
}

impl Visitor for Video {
    fn name(
        &mut self,
        dir: BorrowedFd<'_>,
        _: usize,
        name: &CStr,
        _: FileType,
    ) -> rustix::io::Result<Visit> {
        let bytes = name.to_bytes();
        let number = layout::segment_number(bytes);
        if layout::is_playlist(bytes) {
            self.playlists.push(name.to_owned());
        } else if number.is_some() || bytes == layout::INIT.as_bytes() {
            let stat = fd::stat(dir, name)?;
            let content = match FileType::from_raw_mode(stat.st_mode) {
                FileType::RegularFile if fd::size(&stat) == 0 => Content::Empty,
                FileType::RegularFile => Content::Bytes,
                kind => Content::Not(kind),
            };
            match number {
                Some(number) => self.segments.push((number, content)),
                None => self.init = Some(content),
            }
        }
        Ok(Visit::Done)
    }
}

impl Video {
    pub(super) fn read_playlists(&mut self, top: &OwnedFd, path: &Path) -> Result<(), Error> {
        for name in std::mem::take(&mut self.playlists) {
            let file = fd::open_dir(top, layout::VIDEO)
                .and_then(|video| fd::open_regular(video.as_fd(), &*name));
            let highest = match file {
                Ok(Some((file, size))) if size <= LONGEST_PLAYLIST => {
                    highest_in_playlist(BufReader::new(file))
                }
                // Skip a symlink or pipe of that name: it is not ffmpeg's playlist.
                Ok(_) | Err(Errno::NOENT) => Ok(None),
                Err(error) => Err(error.into()),
            };
            let highest = highest.map_err(|reason| {
                let name = crate::root::os_name(name.to_bytes());
                Error::new(Operation::Read, path.join(layout::VIDEO).join(name), reason)
            })?;
            self.highest_named = self.highest_named.max(highest);
        }
        Ok(())
    }

    /// The number that the last segment has, or should have.
    pub(super) fn last_segment(&self, expected: Option<u64>) -> Option<u64> {
        let highest_found = self.segments.iter().map(|&(number, _)| number).max();
        match expected {
            Some(count) => count.checked_sub(1),
            None => highest_found.max(self.highest_named),
        }
    }

    pub(super) fn segment_faults(&mut self, last: Option<u64>) -> Vec<Fault> {
        self.segments.sort_unstable_by_key(|&(number, _)| number);
        let Some(last) = last else {
            let file = layout::VIDEO.into();
            return vec![Fault {
                code: FaultCode::NoSegments,
                file,
                detail: "holds no segment".into(),
            }];
        };
        if self.segments.is_empty() {
            let detail = format!("holds none of its {} segments", u128::from(last) + 1);
            return vec![Fault { code: FaultCode::NoSegments, file: layout::VIDEO.into(), detail }];
        }
        let mut faults = Vec::new();
        let mut next = Some(0);
        for &(number, content) in self.segments.iter().filter(|&&(number, _)| number <= last) {
            if let Some(first) = next.filter(|&first| first < number) {
                faults.push(missing(first, number - 1));
            }
            next = number.checked_add(1);
            let file = segment_path(number);
            match content {
                Content::Bytes => {}
                Content::Empty => {
                    faults.push(Fault {
                        code: FaultCode::EmptySegment,
                        file,
                        detail: "is empty".into(),
                    });
                }
                Content::Not(kind) => {
                    let detail = format!("is {}", describe(kind));
                    faults.push(Fault { code: FaultCode::MissingSegment, file, detail });
                }
            }
        }
        if let Some(first) = next.filter(|&first| first <= last) {
            faults.push(missing(first, last));
        }
        faults
    }
}

fn segment_path(number: u64) -> PathBuf {
    Path::new(layout::VIDEO).join(layout::segment(number))
}

fn missing(first: u64, last: u64) -> Fault {
    let detail = if first == last {
        "is missing".into()
    } else {
        format!("segments {first}-{last} missing")
    };
    Fault { code: FaultCode::MissingSegment, file: segment_path(first), detail }
}
