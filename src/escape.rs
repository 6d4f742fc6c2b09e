//! Makes names from the disk safe to show: a file name may contain a terminal's escape sequence.

use std::ffi::OsStr;
use std::fmt::{self, Write};
use std::os::unix::ffi::OsStrExt;

/// Displays arbitrary bytes on one line and without effect on a terminal: escapes control characters,
/// characters that reorder or hide text, and bytes that are not UTF-8. Does not escape the backslash, so
/// that escaping twice equals escaping once; JSON has the exact bytes.
#[derive(Clone, Copy, Debug)]
pub struct Escaped<'a>(&'a [u8]);

impl<'a> Escaped<'a> {
    /// Escapes a path, a command name or a message.
    pub fn new(text: &'a (impl AsRef<OsStr> + ?Sized)) -> Self {
        Self(text.as_ref().as_bytes())
    }
}

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            for c in chunk.valid().chars() {
                match u8::try_from(c) {
                    Ok(byte) if byte.is_ascii_control() => byte.escape_ascii().fmt(f)?,
                    _ if is_harmless(c) => f.write_char(c)?,
                    _ => c.escape_unicode().fmt(f)?,
                }
            }
            for byte in chunk.invalid() {
                byte.escape_ascii().fmt(f)?;
            }
        }
        Ok(())
    }
}

/// Whether a character has no effect on the terminal or on other text. Joiners are allowed: Persian and
/// emoji need them.
fn is_harmless(c: char) -> bool {
    let reorders_or_hides = matches!(c,
        '\u{61c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{2069}' | '\u{feff}');
    !c.is_control() && !reorders_or_hides
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn escaped(bytes: &[u8]) -> String {
        Escaped(bytes).to_string()
    }

    #[test]
    fn harmless_text_stays_and_the_rest_is_escaped() {
        for (bytes, shown) in [
            (&b"/srv/hls"[..], "/srv/hls"),
            ("Amélie 映画 👨‍👩‍👧".as_bytes(), "Amélie 映画 👨‍👩‍👧"),
            (b"a'b\"c\\d", "a'b\"c\\d"),
            (b"\x1b[31mred\x07", "\\x1b[31mred\\x07"),
            (b"two\nlines\r\t\x7f", "two\\nlines\\r\\t\\x7f"),
            (b"\xff\xfe", "\\xff\\xfe"),
            ("\u{9b}31m".as_bytes(), "\\u{9b}31m"),
            ("gpj.\u{202e}exe".as_bytes(), "gpj.\\u{202e}exe"),
        ] {
            assert_eq!(escaped(bytes), shown);
        }
    }

    proptest! {
        #[test]
        fn no_harmful_character_is_left_and_escaping_is_idempotent(bytes: Vec<u8>) {
            let once = escaped(&bytes);
            prop_assert!(once.chars().all(is_harmless));
            prop_assert_eq!(escaped(once.as_bytes()), once);
        }
    }
}
