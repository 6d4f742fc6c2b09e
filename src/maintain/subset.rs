//! A part of the cache, for runs that take turns.

use std::num::NonZero;
use std::str::FromStr;

use crate::key::Key;

/// Part I of N of the cache, by key, so that N runs with I from 1 to N see every entry. Written `I/N`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subset {
    part: u64,
    of: u64,
}

impl Subset {
    /// `None` unless `part` is from 1 to `of`.
    pub fn new(part: u64, of: u64) -> Option<Self> {
        (1..=of).contains(&part).then_some(Self { part, of })
    }

    /// The part whose turn it is when `turns` were before: every one in `of` turns.
    pub fn of_turn(turns: u64, of: NonZero<u64>) -> Self {
        Self { part: turns % of + 1, of: of.get() }
    }

    /// Whether the entry is in this part.
    pub fn contains(self, key: Key) -> bool {
        key.as_u64() % self.of == self.part - 1
    }
}

/// A text that names no part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a part: write I/N with I from 1 to N, for instance 3/7")]
pub struct InvalidSubset;

impl FromStr for Subset {
    type Err = InvalidSubset;

    fn from_str(text: &str) -> Result<Self, InvalidSubset> {
        text.split_once('/')
            .and_then(|(part, of)| Self::new(part.parse().ok()?, of.parse().ok()?))
            .ok_or(InvalidSubset)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sys::mutated::mutated_text;

    #[test]
    fn a_part_is_one_of_the_parts_there_are() {
        for (part, of) in [(0, 0), (0, 1), (1, 0), (2, 1), (u64::MAX, 1), (0, u64::MAX)] {
            assert_eq!(Subset::new(part, of), None, "{part}/{of}");
            assert_eq!(format!("{part}/{of}").parse::<Subset>(), Err(InvalidSubset));
        }
        for text in ["", "/", "1", "1/", "/1", "1/2/3", "-1/2", "1/18446744073709551616"] {
            assert_eq!(text.parse::<Subset>(), Err(InvalidSubset), "{text:?}");
        }
        let key: Key = "ffffffffffffffff".parse().unwrap();
        for of in [1, 2, 7, u64::MAX] {
            let parts =
                (1..=of.min(10)).filter(|&part| Subset::new(part, of).unwrap().contains(key));
            assert_eq!(parts.count(), 1, "{of}");
        }
        assert!(format!("{0}/{0}", u64::MAX).parse::<Subset>().is_ok());
    }

    #[test]
    fn every_part_has_its_turn_before_the_first_has_its_second() {
        let of = NonZero::new(3).unwrap();
        let turns: Vec<u64> = (0..7).map(|turns| Subset::of_turn(turns, of).part).collect();
        assert_eq!(turns, [1, 2, 3, 1, 2, 3, 1]);
    }

    proptest! {
        #[test]
        fn no_text_makes_a_part_without_entries(text in prop_oneof![mutated_text("3/7"), "[0-9]{1,2}/[0-9]{1,2}"], key: u64) {
            if let Ok(Subset { part, of }) = text.parse() {
                prop_assert!((1..=of).contains(&part));
                let key = format!("{key:016x}").parse().unwrap();
                Subset { part, of }.contains(key);
            }
        }
    }
}
