//! What a source may have been encoded as: the qualities and tracks to try.

use std::ffi::OsString;
use std::ops::RangeInclusive;
use std::os::unix::ffi::OsStrExt;
use std::str::FromStr;

use crate::key::{Encode, KeySuffix};

/// Keys to try for each source: with more, a typo like `0..1000000` would hash for days.
pub const MOST_VARIANTS: usize = 10_000;

/// Indices of burnt-in subtitles to try besides none: media files seldom have more.
const BURNS: RangeInclusive<i64> = 0..=7;

/// Audio tracks: numbers and inclusive ranges, as in `-1..15` or `-1,0,2..4`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tracks(Vec<i64>);

impl Default for Tracks {
    /// -1 is the default track of daemons, and films with more than sixteen are rare.
    fn default() -> Self {
        Self((-1..=15).collect())
    }
}

/// A text that is no list of tracks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTracks {
    /// Neither a number nor a range from a smaller to a greater one.
    #[error("not a list of tracks: write numbers and ranges, for instance -1..15 or -1,0,2..4")]
    NoList,
    /// More than [`MOST_VARIANTS`].
    #[error("too many tracks: at most {MOST_VARIANTS} are possible")]
    TooMany,
}

impl FromStr for Tracks {
    type Err = InvalidTracks;

    fn from_str(text: &str) -> Result<Self, InvalidTracks> {
        let number = |text: &str| text.trim().parse::<i64>().map_err(|_| InvalidTracks::NoList);
        let mut tracks = Vec::new();
        for part in text.split(',') {
            let (first, last) = match part.split_once("..") {
                Some((first, last)) => (number(first)?, number(last)?),
                None => (number(part)?, number(part)?),
            };
            if first > last {
                return Err(InvalidTracks::NoList);
            }
            if first.abs_diff(last) >= MOST_VARIANTS as u64 {
                return Err(InvalidTracks::TooMany);
            }
            tracks.extend(first..=last);
            // In time: thousands of long ranges would fill the memory.
            if tracks.len() > MOST_VARIANTS {
                return Err(InvalidTracks::TooMany);
            }
        }
        tracks.sort_unstable();
        tracks.dedup();
        Ok(Self(tracks))
    }
}

/// A quality and an audio track, and the burnt-in subtitle of a key of five parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variant {
    pub quality: OsString,
    pub audio: i64,
    /// `None` for a key of three parts; -1 for no subtitle.
    pub burn: Option<i64>,
}

/// More keys for each source than [`MOST_VARIANTS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} qualities and tracks to try; at most {MOST_VARIANTS} are possible")]
pub struct TooManyVariants(usize);

/// Everything that a source may have been encoded as.
#[derive(Clone, Debug)]
pub struct Variants {
    qualities: Vec<OsString>,
    tracks: Tracks,
    settings: Option<Vec<u8>>,
}

impl Variants {
    /// `settings` are the encoder settings of a daemon whose keys have five parts.
    pub fn new(
        qualities: Vec<OsString>,
        tracks: Tracks,
        settings: Option<Vec<u8>>,
    ) -> Result<Self, TooManyVariants> {
        let count = qualities.len().saturating_mul(tracks.0.len());
        if count > MOST_VARIANTS {
            return Err(TooManyVariants(count));
        }
        Ok(Self { qualities, tracks, settings })
    }

    /// Those to try first: keys of three parts, and of five without a burnt-in subtitle.
    pub(super) fn usual(&self) -> Vec<(Variant, KeySuffix)> {
        let mut all = self.combine([None]);
        if self.settings.is_some() {
            all.extend(self.combine([Some(-1)]));
        }
        all
    }

    /// Those with a burnt-in subtitle.
    pub(super) fn burnt(&self) -> Vec<(Variant, KeySuffix)> {
        if self.settings.is_some() { self.combine(BURNS.map(Some)) } else { Vec::new() }
    }

    fn combine(&self, burns: impl IntoIterator<Item = Option<i64>>) -> Vec<(Variant, KeySuffix)> {
        let mut all = Vec::new();
        for burn in burns {
            for quality in &self.qualities {
                for &audio in &self.tracks.0 {
                    let settings = self.settings.as_deref().unwrap_or_default();
                    let encode = burn.map(|burn| Encode { burn, settings });
                    let suffix = KeySuffix::new(quality.as_bytes(), audio, encode);
                    all.push((Variant { quality: quality.clone(), audio, burn }, suffix));
                }
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sys::mutated::mutated_text;

    #[test]
    fn tracks_are_numbers_and_ranges() {
        for (text, tracks) in [
            ("0", vec![0]),
            ("-1..2", vec![-1, 0, 1, 2]),
            ("3, -1 ,0..1,1", vec![-1, 0, 1, 3]),
            ("-9223372036854775808", vec![i64::MIN]),
        ] {
            assert_eq!(text.parse(), Ok(Tracks(tracks)), "{text}");
        }
        for text in ["", ",", "a", "1..", "2..1", "0...2", "1-2"] {
            assert_eq!(text.parse::<Tracks>(), Err(InvalidTracks::NoList), "{text}");
        }
        assert!("0..9999".parse::<Tracks>().is_ok());
        for text in ["0..10000", "0..9999,0", "-9223372036854775808..9223372036854775807"] {
            assert_eq!(text.parse::<Tracks>(), Err(InvalidTracks::TooMany), "{text}");
        }
    }

    #[test]
    fn a_key_of_five_parts_is_tried_only_with_settings() {
        let variants = |settings: Option<&[u8]>| {
            let tracks = "0,1".parse().unwrap();
            Variants::new(vec!["1080p".into()], tracks, settings.map(Vec::from)).unwrap()
        };
        assert_eq!((variants(None).usual().len(), variants(None).burnt().len()), (2, 0));
        let five = variants(Some(b""));
        assert_eq!((five.usual().len(), five.burnt().len()), (4, 16));
        let many = vec![OsString::new(); MOST_VARIANTS];
        assert!(Variants::new(many, "0,1".parse().unwrap(), None).is_err());
    }

    proptest! {
        #[test]
        fn no_list_of_tracks_is_unsorted_or_too_long(
            text in prop_oneof![mutated_text("-1..15,20, 3..5,-9223372036854775808"), any::<String>()],
        ) {
            match text.parse::<Tracks>() {
                Ok(Tracks(tracks)) => {
                    prop_assert!((1..=MOST_VARIANTS).contains(&tracks.len()));
                    prop_assert!(tracks.is_sorted_by(|one, next| one < next));
                }
                Err(InvalidTracks::NoList | InvalidTracks::TooMany) => {}
            }
        }

        #[test]
        fn every_number_and_range_of_a_list_is_in_it(
            ranges in proptest::collection::vec((-99..99_i64, 0..20_i64), 1..20),
        ) {
            let ranges = ranges.iter().map(|(first, more)| (*first, first + more));
            let text: Vec<String> = ranges.clone().map(|(first, last)| format!("{first}..{last}")).collect();
            let expected: std::collections::BTreeSet<i64> = ranges.flat_map(|(first, last)| first..=last).collect();
            prop_assert_eq!(text.join(",").parse(), Ok(Tracks(expected.into_iter().collect())));
        }
    }
}
