//! For tests: text as a crash, a full disk, another version or an enemy leaves it. Random bytes alone fail at a
//! parser's first look; valid ones with a few changes get further.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

#[derive(Clone, Debug)]
enum Change {
    Set(Index, u8),
    Insert(Index, Vec<u8>),
    Remove(Index, usize),
    Repeat(Index, usize),
    Cut(Index),
}

impl Change {
    fn apply(self, text: &mut Vec<u8>) {
        let end = text.len();
        let piece = |place: Index, length: usize| {
            let begin = place.index(end + 1);
            begin..end.min(begin + length)
        };
        match self {
            Self::Set(place, byte) => {
                if let Some(old) = text.get_mut(place.index(end + 1)) {
                    *old = byte;
                }
            }
            Self::Insert(place, bytes) => drop(text.splice(piece(place, 0), bytes)),
            Self::Remove(place, length) => drop(text.drain(piece(place, length))),
            Self::Repeat(place, length) => {
                let piece = piece(place, length);
                let copy = text[piece.clone()].to_vec();
                text.splice(piece.end..piece.end, copy);
            }
            Self::Cut(place) => text.truncate(place.index(end + 1)),
        }
    }
}

fn changes() -> impl Strategy<Value = Change> {
    // Those that mean something somewhere, oftener than others.
    let special = proptest::sample::select(&b"\0\n\r\t -+=|/\\.:,%#\"{}09\xff"[..]);
    let byte = prop_oneof![special, any::<u8>()];
    let length = 1..24_usize;
    prop_oneof![
        4 => (any::<Index>(), byte.clone()).prop_map(|(place, byte)| Change::Set(place, byte)),
        2 => (any::<Index>(), vec(byte, 1..24)).prop_map(|(place, bytes)| Change::Insert(place, bytes)),
        2 => (any::<Index>(), length.clone()).prop_map(|(place, length)| Change::Remove(place, length)),
        1 => (any::<Index>(), length).prop_map(|(place, length)| Change::Repeat(place, length)),
        1 => any::<Index>().prop_map(Change::Cut),
    ]
}

/// A valid text with up to five changes.
pub(crate) fn mutated(valid: impl Into<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let valid = valid.into();
    vec(changes(), 0..6).prop_map(move |changes| {
        let mut text = valid.clone();
        for change in changes {
            change.apply(&mut text);
        }
        text
    })
}

/// The same as text, with U+FFFD for what is not UTF-8.
pub(crate) fn mutated_text(valid: impl Into<Vec<u8>>) -> impl Strategy<Value = String> {
    mutated(valid).prop_map(|text| String::from_utf8_lossy(&text).into_owned())
}
