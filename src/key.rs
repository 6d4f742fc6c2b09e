//! The cache key: which entry holds a source at a quality with an audio track.
//!
//! Keys must match the daemon's bit for bit, and the daemon is often written in Go, so a source is
//! made absolute as Go's `filepath.Abs` does it: by text alone.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use sha2::{Digest, Sha256};

/// The two hex digits of every byte. A batch writes millions of keys, and the hex crate's division per byte
/// would take a twentieth of its time.
const HEX: [[u8; 2]; 256] = {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut table = [[0; 2]; 256];
    let mut byte = 0;
    while byte < table.len() {
        table[byte] = [DIGITS[byte >> 4], DIGITS[byte & 15]];
        byte += 1;
    }
    table
};

/// Writes bytes as lowercase hex digits.
pub fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().flat_map(|&byte| HEX[usize::from(byte)]).map(char::from).collect()
}

/// The first 8 bytes of the SHA-256 of a source's inputs; written as 16 lowercase hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key([u8; 8]);

impl Key {
    /// Length of a written key in bytes.
    pub const LEN: usize = 16;

    /// Reads a written key; strict: exactly 16 characters of `[0-9a-f]`.
    pub fn from_bytes(text: &[u8]) -> Option<Self> {
        if text.iter().any(u8::is_ascii_uppercase) {
            return None;
        }
        let mut bytes = [0; 8];
        hex::decode_to_slice(text, &mut bytes).ok()?;
        Some(Self(bytes))
    }

    /// The written key, for output that cannot afford a formatter.
    pub fn to_hex(self) -> [u8; Self::LEN] {
        let mut text = [0; Self::LEN];
        for (digits, byte) in text.as_chunks_mut().0.iter_mut().zip(self.0) {
            *digits = HEX[usize::from(byte)];
        }
        text
    }

    /// The key's digits as one number: a stable basis for assigning entries to subsets.
    pub fn as_u64(self) -> u64 {
        u64::from_be_bytes(self.0)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Hex digits are always UTF-8.
        f.write_str(std::str::from_utf8(&self.to_hex()).unwrap_or_default())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({self})")
    }
}

/// Text that is not a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a key: a key is exactly 16 characters of 0-9 and a-f")]
pub struct InvalidKey;

impl FromStr for Key {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        Self::from_bytes(text.as_bytes()).ok_or(InvalidKey)
    }
}

/// The source was the empty path, which names nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the source is empty: name a file")]
pub struct EmptySource;

/// The inputs of a key, as bytes.
#[derive(Clone, Copy, Debug)]
pub struct KeyInputs<'a> {
    /// The source as [`absolute`] gives it.
    pub source: &'a [u8],
    /// The quality, used verbatim.
    pub quality: &'a [u8],
    /// The audio track; daemons use -1 for the default one.
    pub audio: i64,
    /// What a key of five parts adds; `None` for one of three.
    pub encode: Option<Encode<'a>>,
}

/// What a later daemon adds to the hash, in this order: a key of five parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encode<'a> {
    /// Index of the subtitle track that is burnt into the picture; -1 for none.
    pub burn: i64,
    /// The encoder settings, used verbatim.
    pub settings: &'a [u8],
}

impl KeyInputs<'_> {
    /// `SHA-256(source "|" quality "|" audio)`, with `"|" burn "|" settings` where there are five parts, cut to
    /// 8 bytes.
    pub fn key(&self) -> Key {
        KeySuffix::new(self.quality, self.audio, self.encode).key(self.source)
    }
}

/// Everything in the hash after the source, rendered once for a batch of sources.
#[derive(Clone, Debug)]
pub struct KeySuffix(Vec<u8>);

impl KeySuffix {
    /// The suffix for one quality and audio track, and what a key of five parts adds.
    pub fn new(quality: &[u8], audio: i64, encode: Option<Encode<'_>>) -> Self {
        let mut suffix = [b"|", quality, b"|", audio.to_string().as_bytes()].concat();
        if let Some(Encode { burn, settings }) = encode {
            suffix.extend([b"|", burn.to_string().as_bytes(), b"|", settings].concat());
        }
        Self(suffix)
    }

    /// The key of a source that [`absolute`] made absolute.
    pub fn key(&self, source: &[u8]) -> Key {
        // `chain_update` would move the hasher's state from call to call: a tenth of a batch's time.
        let mut hasher = Sha256::new();
        hasher.update(source);
        self.finish(hasher)
    }

    fn finish(&self, mut hasher: Sha256) -> Key {
        hasher.update(&self.0);
        let digest = hasher.finalize();
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&digest[..8]);
        Key(bytes)
    }
}

/// A source, hashed once for many suffixes.
#[derive(Clone, Debug)]
pub struct KeyPrefix(Sha256);

impl KeyPrefix {
    /// Of a source that [`absolute`] gave.
    pub fn new(source: &[u8]) -> Self {
        let mut hasher = Sha256::new();
        hasher.update(source);
        Self(hasher)
    }

    /// The key of the source with this suffix.
    pub fn key(&self, suffix: &KeySuffix) -> Key {
        suffix.finish(self.0.clone())
    }
}

/// Makes `source` absolute by text alone: joined to `working_dir` if it is relative, then `.`, `..`,
/// doubled and trailing slashes removed. Resolves no symlink, and the path need not exist. Calls
/// `working_dir` (usually [`working_dir`]) only for a relative source.
pub fn absolute(
    source: &[u8],
    working_dir: impl FnOnce() -> std::io::Result<PathBuf>,
) -> std::io::Result<Cow<'_, [u8]>> {
    if source.first() == Some(&b'/') {
        return Ok(clean(source));
    }
    let mut joined = working_dir()?.into_os_string().into_vec();
    joined.push(b'/');
    joined.extend_from_slice(source);
    Ok(Cow::Owned(clean(&joined).into_owned()))
}

/// The absolute path `path` in its shortest lexical form, as Go's `path.Clean`.
fn clean(path: &[u8]) -> Cow<'_, [u8]> {
    if is_clean(path) {
        return Cow::Borrowed(path);
    }
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.split(|&byte| byte == b'/') {
        match part {
            b"" | b"." => {}
            // At the root, `..` is the root.
            b".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    let mut cleaned = vec![b'/'];
    cleaned.extend(parts.join(&b'/'));
    Cow::Owned(cleaned)
}

/// Whether the absolute `path` is clean already: the usual case, and batches hash millions.
fn is_clean(path: &[u8]) -> bool {
    path == b"/"
        || is_plainly_clean(path)
        || path[1..].split(|&byte| byte == b'/').all(|part| !matches!(part, b"" | b"." | b".."))
}

/// Whether no slash is followed by a slash, a dot or the end. Has no early exit, so that the compiler can
/// compare sixteen pairs at once.
#[allow(clippy::needless_bitwise_bool, reason = "a lazy operator is a branch")]
fn is_plainly_clean(path: &[u8]) -> bool {
    let suspicious = |pair: &[u8]| (pair[0] == b'/') & ((pair[1] == b'/') | (pair[1] == b'.'));
    let dirty = path.windows(2).fold(false, |dirty, pair| dirty | suspicious(pair));
    !dirty && path.last() != Some(&b'/')
}

/// The working directory as Go's `os.Getwd` gives it: `$PWD` if it is absolute and names the same directory
/// as `.`, so that a key computed inside a symlinked directory uses the path the user sees; otherwise the
/// kernel's path.
pub fn working_dir(pwd: Option<&OsStr>) -> std::io::Result<PathBuf> {
    if let Some(pwd) = pwd
        && pwd.as_bytes().first() == Some(&b'/')
        && let (Ok(named), Ok(here)) = (std::fs::metadata(pwd), std::fs::metadata("."))
        && (named.dev(), named.ino()) == (here.dev(), here.ino())
    {
        return Ok(Path::new(pwd).to_path_buf());
    }
    // `std::env::current_dir` is getcwd alone.
    std::env::current_dir()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sys::mutated::mutated;

    fn cleaned(path: &str) -> String {
        String::from_utf8(clean(path.as_bytes()).into_owned()).unwrap()
    }

    #[test]
    fn a_key_and_bytes_are_written_in_the_same_digits() {
        let bytes: Vec<u8> = (0..=u8::MAX).collect();
        assert_eq!(to_hex(&bytes), hex::encode(&bytes));
        for bytes in bytes.as_chunks().0 {
            let key = Key(*bytes);
            assert_eq!(key.to_string(), hex::encode(bytes));
            assert_eq!(key.to_hex(), key.to_string().as_bytes());
        }
    }

    #[test]
    fn cleaning_is_lexical() {
        for (path, want) in [
            ("/", "/"),
            ("//", "/"),
            ("/..", "/"),
            ("/../../a", "/a"),
            ("/a/./b//c/", "/a/b/c"),
            ("/a/../b", "/b"),
            ("/a/b/../../..", "/"),
            ("/...", "/..."),
            ("/a/.b/..c", "/a/.b/..c"),
            ("/0123456789abcdef/0123456789abcdef", "/0123456789abcdef/0123456789abcdef"),
            ("/0123456789abcd//0123456789abcdef", "/0123456789abcd/0123456789abcdef"),
            ("/0123456789abcde//0123456789abcdef", "/0123456789abcde/0123456789abcdef"),
            ("/0123456789abcdef/./0123456789abcdef", "/0123456789abcdef/0123456789abcdef"),
            ("/0123456789abcdef/0123456789abcdef/", "/0123456789abcdef/0123456789abcdef"),
            ("/0123456789abcdef/0123456789abcde/.", "/0123456789abcdef/0123456789abcde"),
            ("/0123456789abcdef/0123456789abcdef/..", "/0123456789abcdef"),
        ] {
            assert_eq!(cleaned(path), want, "{path}");
        }
    }

    #[test]
    fn a_relative_source_is_joined_and_an_absolute_one_asks_for_no_directory() {
        for (source, joined) in [
            (&b"b.mkv"[..], &b"/media/films/b.mkv"[..]),
            (b"../b.mkv", b"/media/b.mkv"),
            (b"a//b/", b"/media/films/a/b"),
            (b".", b"/media/films"),
            (b"x/../y", b"/media/films/y"),
        ] {
            assert_eq!(&*absolute(source, || Ok("/media/films".into())).unwrap(), joined);
        }
        let absolute = absolute(b"/b.mkv", || panic!("asked")).unwrap();
        assert_eq!(&*absolute, b"/b.mkv");
    }

    #[test]
    fn the_documented_example() {
        let source = b"/a/b/movie.mkv";
        let encode = Encode { burn: -1, settings: b"videotoolbox|medium|10M||0|false" };
        for (encode, expected) in [(None, "9cd7e7a0505d91ac"), (Some(encode), "01f0735fd1578d38")] {
            let inputs = KeyInputs { source, quality: b"1080p", audio: 0, encode };
            assert_eq!(inputs.key().to_string(), expected);
            let suffix = KeySuffix::new(b"1080p", 0, encode);
            assert_eq!(KeyPrefix::new(source).key(&suffix).to_string(), expected);
        }
    }

    #[test]
    fn both_ways_of_writing_agree() {
        for byte in 0..=u8::MAX {
            let key = Key([byte, 0, !byte, 0xff, 0x9a, byte, 0xaf, byte]);
            assert_eq!(key.to_hex(), *format!("{:016x}", key.as_u64()).as_bytes());
            assert_eq!(Key::from_bytes(&key.to_hex()), Some(key));
        }
    }

    #[test]
    fn parsing_is_strict() {
        assert!("9cd7e7a0505d91ac".parse::<Key>().is_ok());
        for text in [
            "",
            "9cd7e7a0505d91a",
            "9cd7e7a0505d91ac0",
            "9CD7E7A0505D91AC",
            "9cd7e7a0505d91ag",
            " 9cd7e7a0505d91ac",
            "+cd7e7a0505d91ac",
            "g100000000000000",
            "6100000000000g00",
            "6A00000000000000",
            "a/../b",
            ".",
            "..",
        ] {
            assert_eq!(text.parse::<Key>(), Err(InvalidKey), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn only_what_is_written_for_a_key_is_read_as_that_key(
            text in prop_oneof![
                mutated("9cd7e7a0505d91ac"),
                "[0-9a-fA-F]{15,17}".prop_map(String::into_bytes),
                any::<Vec<u8>>(),
            ],
            bytes: [u8; 8],
        ) {
            if let Some(key) = Key::from_bytes(&text) {
                prop_assert_eq!(&key.to_hex()[..], &*text);
            }
            prop_assert_eq!(Key::from_bytes(&Key(bytes).to_hex()), Some(Key(bytes)));
        }

        #[test]
        fn any_path_is_cleaned_once_and_for_all(path in prop_oneof![mutated("a/./b//../c/"), any::<Vec<u8>>()]) {
            let cleaned = absolute(&path, || Ok("/media".into())).unwrap();
            prop_assert_eq!(cleaned.first(), Some(&b'/'));
            prop_assert!(*cleaned == *b"/" || !cleaned.ends_with(b"/"));
            let mut parts = cleaned[1..].split(|&byte| byte == b'/');
            prop_assert!(*cleaned == *b"/" || parts.all(|part| !matches!(part, b"" | b"." | b"..")));
            prop_assert_eq!(&clean(&cleaned), &cleaned);
        }
    }
}
