//! Segment numbers in the playlists that ffmpeg leaves in an entry.

use std::io::{self, BufRead};

use crate::layout;
use crate::sys::lines::{Line, Lines};

/// A day of one-second segments is 4 MB; a larger file is not a playlist.
pub(super) const LONGEST_PLAYLIST: u64 = 64 << 20;

/// The highest segment that a playlist names.
pub(super) fn highest_in_playlist(playlist: impl BufRead) -> io::Result<Option<u64>> {
    /// Longer than a segment's name with any path.
    const LONGEST_LINE: u64 = 4096;
    let mut lines = Lines::new(playlist.take(LONGEST_PLAYLIST), LONGEST_LINE);
    let mut highest = None;
    while let Some(line) = lines.next_line()? {
        if let Line::Whole(line) = line {
            highest = highest.max(segment_in_line(line));
        }
    }
    Ok(highest)
}

/// The segment that a line of a playlist names; a line that starts with `#` is a tag.
fn segment_in_line(line: &[u8]) -> Option<u64> {
    let line = line.trim_ascii();
    let name = line.rsplit(|&byte| byte == b'/').next()?;
    if line.starts_with(b"#") { None } else { layout::segment_number(name) }
}
