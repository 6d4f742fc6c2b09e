//! What `verify` can find wrong with an entry.

use std::fmt;
use std::path::PathBuf;

/// The kind of damage; [`FaultCode::code`] is the stable name that JSON carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FaultCode {
    /// `.complete` is not a regular file.
    BadMarker,
    /// `video/init.mp4` is missing.
    MissingInit,
    /// `video/init.mp4` is empty.
    EmptyInit,
    /// A segment, or a run of segments, is missing.
    MissingSegment,
    /// A segment is empty.
    EmptySegment,
    /// The entry has no segments.
    NoSegments,
    /// The box structure is not that of an fMP4 init or media segment.
    BadBox,
    /// A box reaches past the end of its file.
    Truncated,
    /// A segment starts later than the previous one ended.
    TimelineGap,
    /// A segment starts before the previous one ended.
    TimelineOverlap,
    /// A WebVTT file that no player would parse.
    BadSubtitle,
    /// A segment belongs to another init segment.
    ForeignInit,
}

impl FaultCode {
    /// The stable name, as in JSON.
    pub fn code(self) -> &'static str {
        match self {
            Self::BadMarker => "bad-marker",
            Self::MissingInit => "missing-init",
            Self::EmptyInit => "empty-init",
            Self::MissingSegment => "missing-segment",
            Self::EmptySegment => "empty-segment",
            Self::NoSegments => "no-segments",
            Self::BadBox => "bad-box",
            Self::Truncated => "truncated",
            Self::TimelineGap => "timeline-gap",
            Self::TimelineOverlap => "timeline-overlap",
            Self::BadSubtitle => "bad-subtitle",
            Self::ForeignInit => "foreign-init",
        }
    }
}

impl fmt::Display for FaultCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// One thing wrong with an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "only what the names do not say")]
pub struct Fault {
    pub code: FaultCode,
    /// Relative to the entry's directory (`video/seg-3.m4s`); of a missing run, the first.
    pub file: PathBuf,
    /// For people, on one line: what was expected and what was found.
    pub detail: String,
}
