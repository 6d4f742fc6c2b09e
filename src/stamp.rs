//! The encoder settings that a later daemon hashes into its keys, from the `.encode-stamp` in which it keeps them.
//!
//! The file is read, and never created, changed or removed: when its settings change, the daemon empties the cache.

use std::io::Read;

use rustix::io::Errno;

use crate::error::{Error, Operation, Reason};
use crate::layout::ENCODE_STAMP;
use crate::root::Root;
use crate::sys::fd;

/// In bytes. Daemons write less than 200; a larger file than this is not theirs, and must not fill the memory.
const LARGEST: u64 = 64 << 10;

/// The field that holds the settings.
const FINGERPRINT: &str = "fingerprint";

/// The encoder settings in the root's stamp; `None` where there is no stamp. Never follows a symlink and never
/// blocks. Of two settings in one stamp the last counts, as to Go's JSON decoder.
pub fn read(root: &Root) -> Result<Option<String>, Error> {
    try_read(root).map_err(|reason| {
        Error::new(Operation::ReadEncodeStamp, root.path().join(ENCODE_STAMP), reason)
    })
}

fn try_read(root: &Root) -> Result<Option<String>, Reason> {
    let file = match fd::open_regular(root.fd(), ENCODE_STAMP) {
        Ok(Some((file, _))) => file,
        Ok(None) => return Err(Reason::NotRegular),
        Err(Errno::NOENT) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let mut text = Vec::new();
    // One byte more than may be: the file may have grown since it was opened.
    file.take(LARGEST + 1).read_to_end(&mut text)?;
    if text.len() as u64 > LARGEST {
        return Err(Reason::TooLarge { limit: LARGEST });
    }
    settings(&text).map(Some)
}

fn settings(text: &[u8]) -> Result<String, Reason> {
    let mut stamp: serde_json::Value = serde_json::from_slice(text)
        .map_err(|error| Reason::NotJson { line: error.line(), column: error.column() })?;
    match stamp.get_mut(FINGERPRINT).map(serde_json::Value::take) {
        Some(serde_json::Value::String(settings)) => Ok(settings),
        _ => Err(Reason::NoFingerprint),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;
    use std::path::PathBuf;

    use proptest::prelude::*;
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    use tempfile::TempDir;

    use crate::sys::mutated::mutated;

    /// A cache whose stamp `make` makes at the path it is given, and what comes of reading it.
    fn read_made(make: impl FnOnce(&PathBuf)) -> Result<Option<String>, Reason> {
        let dir = TempDir::new().unwrap();
        let root = Root::open(dir.path()).unwrap();
        let path = root.path().join(".encode-stamp");
        make(&path);
        read(&root).map_err(|error| {
            assert_eq!((error.operation, error.path), (Operation::ReadEncodeStamp, path));
            error.reason
        })
    }

    fn read_text(text: impl AsRef<[u8]>) -> Result<Option<String>, Reason> {
        read_made(|path| fs::write(path, text).unwrap())
    }

    #[test]
    fn no_stamp_is_none() {
        assert_eq!(read_made(|_| {}), Ok(None));
    }

    #[test]
    fn the_settings_are_taken_as_they_are_and_other_fields_are_ignored() {
        for (text, settings) in [
            (
                r#"{"fingerprint":"videotoolbox|medium|10M||0|false"}"#,
                "videotoolbox|medium|10M||0|false",
            ),
            ("\n{ \"fingerprint\" :\t\"a\" }\r\n", "a"),
            (r#"{"fingerprint":""}"#, ""),
            (r#"{"fingerprint":"|"}"#, "|"),
            (r#"{"fingerprint":" \u00e9\ud83c\udfac\n\"\\ "}"#, " é🎬\n\"\\ "),
            (
                r#"{"version":2,"fingerprint":"a","nested":{"fingerprint":"b"},"Fingerprint":"c"}"#,
                "a",
            ),
            (r#"{"fingerprint":"a","fingerprint":"b"}"#, "b"),
            (r#"{"fingerprint":7,"fingerprint":"b"}"#, "b"),
        ] {
            assert_eq!(read_text(text), Ok(Some(settings.to_owned())), "{text}");
        }
    }

    #[test]
    fn what_is_not_json_is_refused_with_the_place() {
        for (text, line, column) in [
            (&b""[..], 1, 0),
            (b"videotoolbox|medium", 1, 1),
            (b"{\"fingerprint\":\"a\"", 1, 18),
            (b"{\"fingerprint\":\"a\"}\n{}", 2, 1),
            (b"{\"fingerprint\":\"\xff\"}", 1, 17),
            (b"\xff\xfe{\0}\0", 1, 1),
            (b"{\"fingerprint\":\"\\ud83c\"}", 1, 23),
        ] {
            assert_eq!(
                read_text(text),
                Err(Reason::NotJson { line, column }),
                "{}",
                text.escape_ascii()
            );
        }
        // A stack that this overflowed would end the run.
        assert!(matches!(read_text("[".repeat(60_000)), Err(Reason::NotJson { .. })));
    }

    #[test]
    fn json_without_the_settings_is_refused() {
        for text in [
            "{}",
            "null",
            "\"fingerprint\"",
            r#"["fingerprint"]"#,
            r#"{"Fingerprint":"a"}"#,
            r#"{"fingerprint":null}"#,
            r#"{"fingerprint":7}"#,
            r#"{"fingerprint":["a"]}"#,
            r#"{"fingerprint":"a","fingerprint":null}"#,
        ] {
            assert_eq!(read_text(text), Err(Reason::NoFingerprint), "{text}");
        }
    }

    #[test]
    fn only_a_regular_file_is_read_and_nothing_blocks() {
        let refused =
            |make: &dyn Fn(&PathBuf)| assert_eq!(read_made(make), Err(Reason::NotRegular));
        refused(&|path| fs::create_dir(path).unwrap());
        refused(&|path| mknodat(CWD, path, FileType::Fifo, Mode::from(0o600), 0).unwrap());
        refused(&|path| drop(UnixListener::bind(path).unwrap()));
        refused(&|path| symlink("nowhere", path).unwrap());
        refused(&|path| {
            let stamp = path.with_file_name("stamp");
            fs::write(&stamp, r#"{"fingerprint":"a"}"#).unwrap();
            symlink(stamp, path).unwrap();
        });
    }

    #[test]
    fn a_stamp_of_64_kib_is_read_and_a_larger_one_refused() {
        let stamp = |length: usize| {
            let text = r#"{"fingerprint":"a"}"#;
            text.to_owned() + &" ".repeat(length - text.len())
        };
        assert_eq!(read_text(stamp(64 << 10)), Ok(Some("a".to_owned())));
        assert_eq!(read_text(stamp((64 << 10) + 1)), Err(Reason::TooLarge { limit: 64 << 10 }));
        // Sparse; read in full, it would not fit into memory.
        let huge = read_made(|path| fs::File::create(path).unwrap().set_len(1 << 40).unwrap());
        assert_eq!(huge, Err(Reason::TooLarge { limit: 64 << 10 }));
    }

    proptest! {
        #[test]
        fn no_stamp_makes_the_reader_panic(
            text in prop_oneof![
                mutated(r#"{"version":2,"fingerprint":"a|b","nested":{"a":[1e9]}}"#),
                any::<Vec<u8>>(),
            ],
        ) {
            match settings(&text) {
                Ok(_) | Err(Reason::NotJson { .. } | Reason::NoFingerprint) => {}
                Err(other) => prop_assert!(false, "{other:?}"),
            }
        }

        #[test]
        fn settings_come_back_whatever_is_in_them(text: String, version: u64) {
            let stamp = serde_json::json!({"version": version, "fingerprint": text});
            prop_assert_eq!(settings(stamp.to_string().as_bytes()), Ok(text.clone()));
            let pretty = serde_json::to_vec_pretty(&stamp).unwrap();
            prop_assert_eq!(settings(&pretty), Ok(text));
        }
    }
}
