//! All names in the cache directory, each defined once.

use crate::key::{Key, to_hex};

/// Marker of a sealed entry.
pub const COMPLETE: &str = ".complete";
/// Directory of the init segment, the media segments and ffmpeg's playlists.
pub const VIDEO: &str = "video";
/// Directory of the WebVTT subtitles.
pub const SUBS: &str = "subs";
/// The fMP4 initialisation segment, in [`VIDEO`].
pub const INIT: &str = "init.mp4";
/// Lockfile of the maintainer: only one runs at a time.
pub const MAINTENANCE_LOCK: &str = ".maintenance.lock";
/// The optional event log.
pub const EVENTS_LOG: &str = ".events.log";
/// The event log before the last rotation.
pub const OLD_EVENTS_LOG: &str = ".events.log.1";
/// What sealed entries measured when a sweep last looked.
pub const SIZES: &str = ".sizes";
/// The same on its way to its name, for an instant.
pub const NEW_SIZES: &str = ".sizes.new";

/// A later daemon's encoder settings; read for keys of five parts, never touched.
pub const ENCODE_STAMP: &str = ".encode-stamp";

/// Name of the lockfile whose lock pins `key`.
pub fn pin(key: Key) -> String {
    format!(".{key}.pin")
}

/// Name of the lockfile of the one writer of `key`.
pub fn write(key: Key) -> String {
    format!(".{key}.write")
}

/// Name to which an entry is renamed for removal; `random` keeps two removals of one key apart.
pub fn trash(key: Key, random: [u8; 8]) -> String {
    format!(".trash.{key}.{}", to_hex(&random))
}

/// Name of media segment `number`, in [`VIDEO`].
pub fn segment(number: u64) -> String {
    format!("seg-{number}.m4s")
}

/// The number of the media segment `name`; `None` for any other name, including one with leading zeros.
pub fn segment_number(name: &[u8]) -> Option<u64> {
    number(name, "seg-", ".m4s")
}

/// Name of subtitle `number`, in [`SUBS`].
pub fn subtitle(number: u64) -> String {
    format!("sub-{number}.vtt")
}

/// The number of the subtitle `name`; `None` for any other name.
pub fn subtitle_number(name: &[u8]) -> Option<u64> {
    number(name, "sub-", ".vtt")
}

/// The number between `prefix` and `suffix`, in canonical decimal form.
fn number(name: &[u8], prefix: &str, suffix: &str) -> Option<u64> {
    let digits = name.strip_prefix(prefix.as_bytes())?.strip_suffix(suffix.as_bytes())?;
    let canonical = digits == b"0" || !digits.starts_with(b"0");
    if !canonical || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Whether `name`, in [`VIDEO`], is the name of a playlist.
pub fn is_playlist(name: &[u8]) -> bool {
    name.ends_with(b".m3u8")
}

/// Kind of a name in the root. The file type must match, too: entries and trash are real directories, the
/// rest are regular files; anything else is foreign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RootName {
    /// An entry.
    Entry(Key),
    /// A removed entry that is not deleted yet.
    Trash(Key),
    /// The pin lockfile of an entry.
    Pin(Key),
    /// The writer lockfile of an entry.
    Write(Key),
    /// A file that maintainers make: the maintenance lock, the logs, the sizes.
    Own,
    /// `.encode-stamp`, the daemon's.
    EncodeStamp,
    /// Anything else; reported, never touched.
    Foreign,
}

impl RootName {
    /// Parses a name. Never fails: a name that does not parse is foreign.
    pub fn parse(name: &[u8]) -> Self {
        const OWN: [&str; 5] = [MAINTENANCE_LOCK, EVENTS_LOG, OLD_EVENTS_LOG, SIZES, NEW_SIZES];
        if let Some(key) = Key::from_bytes(name) {
            return Self::Entry(key);
        }
        if OWN.iter().any(|own| name == own.as_bytes()) {
            return Self::Own;
        }
        if name == ENCODE_STAMP.as_bytes() {
            return Self::EncodeStamp;
        }
        let dotted = |suffix: &[u8]| {
            name.strip_prefix(b".").and_then(|n| n.strip_suffix(suffix)).and_then(Key::from_bytes)
        };
        if let Some(key) = dotted(b".pin") {
            return Self::Pin(key);
        }
        if let Some(key) = dotted(b".write") {
            return Self::Write(key);
        }
        let trash = name.strip_prefix(b".trash.").and_then(|rest| {
            let (key, random) = rest.split_at_checked(Key::LEN)?;
            // The random half is 64 bits in the same notation as a key.
            Key::from_bytes(random.strip_prefix(b".")?)?;
            Key::from_bytes(key)
        });
        trash.map_or(Self::Foreign, Self::Trash)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sys::mutated::mutated;

    #[test]
    fn only_exact_names_are_ours() {
        let key: Key = "9cd7e7a0505d91ac".parse().unwrap();
        for (name, want) in [
            (&b"9cd7e7a0505d91ac"[..], RootName::Entry(key)),
            (b".9cd7e7a0505d91ac.pin", RootName::Pin(key)),
            (b".9cd7e7a0505d91ac.write", RootName::Write(key)),
            (b".trash.9cd7e7a0505d91ac.0123456789abcdef", RootName::Trash(key)),
            (b".maintenance.lock", RootName::Own),
            (b".events.log", RootName::Own),
            (b".events.log.1", RootName::Own),
            (b".sizes", RootName::Own),
            (b".sizes.new", RootName::Own),
            (b".sizes.old", RootName::Foreign),
            (b".encode-stamp", RootName::EncodeStamp),
            (b".encode-stamp.tmp", RootName::Foreign),
            (b".events.log.2", RootName::Foreign),
            (b".trash.old", RootName::Foreign),
            (b".trash.9cd7e7a0505d91ac", RootName::Foreign),
            (b".trash.9cd7e7a0505d91ac.0123456789abcdeg", RootName::Foreign),
            (b".trash.9cd7e7a0505d91ac.0123456789abcdef0", RootName::Foreign),
            (b"9CD7E7A0505D91AC", RootName::Foreign),
            (b"9cd7e7a0505d91a", RootName::Foreign),
            (b"9cd7e7a0505d91ac0", RootName::Foreign),
            (b"9cd7e7a0505d91ac.pin", RootName::Foreign),
            (b".9cd7e7a0505d91ac.lock", RootName::Foreign),
            (b"\xff\xfe", RootName::Foreign),
            (b"", RootName::Foreign),
        ] {
            assert_eq!(RootName::parse(name), want, "{}", name.escape_ascii());
        }
    }

    #[test]
    fn segment_names_are_canonical() {
        assert_eq!(segment_number(b"seg-0.m4s"), Some(0));
        assert_eq!(segment_number(b"seg-120.m4s"), Some(120));
        assert_eq!(segment_number(b"seg-18446744073709551615.m4s"), Some(u64::MAX));
        for name in [
            &b"seg-.m4s"[..],
            b"seg-007.m4s",
            b"seg-00.m4s",
            b"seg-+1.m4s",
            b"seg-1.ts",
            b"seg-18446744073709551616.m4s",
        ] {
            assert_eq!(segment_number(name), None, "{}", name.escape_ascii());
        }
    }

    /// Names that are ours, and nearly.
    fn names() -> impl Strategy<Value = Vec<u8>> {
        let key: Key = "9cd7e7a0505d91ac".parse().unwrap();
        let ours = [
            key.to_string(),
            pin(key),
            write(key),
            trash(key, *b"12345678"),
            segment(120),
            subtitle(7),
            MAINTENANCE_LOCK.to_owned(),
            EVENTS_LOG.to_owned(),
            SIZES.to_owned(),
        ];
        proptest::sample::select(ours.to_vec()).prop_flat_map(mutated)
    }

    proptest! {
        #[test]
        fn only_the_name_that_is_written_for_a_key_is_read_as_that_keys(
            name in prop_oneof![names(), any::<Vec<u8>>()],
        ) {
            let written = match RootName::parse(&name) {
                RootName::Entry(key) => key.to_string(),
                RootName::Pin(key) => pin(key),
                RootName::Write(key) => write(key),
                RootName::Trash(key) => {
                    let random = name[name.len() - 16..].to_vec();
                    trash(key, Key::from_bytes(&random).unwrap().as_u64().to_be_bytes())
                }
                RootName::Own => {
                    let own = [MAINTENANCE_LOCK, EVENTS_LOG, OLD_EVENTS_LOG, SIZES, NEW_SIZES];
                    prop_assert!(own.iter().any(|own| own.as_bytes() == name));
                    return Ok(());
                }
                RootName::EncodeStamp => ENCODE_STAMP.to_owned(),
                RootName::Foreign => return Ok(()),
            };
            prop_assert_eq!(written.as_bytes(), &*name);
        }

        #[test]
        fn every_name_that_is_written_is_read_again(number: u64, random: [u8; 8]) {
            let key = Key::from_bytes(format!("{number:016x}").as_bytes()).unwrap();
            prop_assert_eq!(RootName::parse(key.to_string().as_bytes()), RootName::Entry(key));
            prop_assert_eq!(RootName::parse(pin(key).as_bytes()), RootName::Pin(key));
            prop_assert_eq!(RootName::parse(write(key).as_bytes()), RootName::Write(key));
            prop_assert_eq!(RootName::parse(trash(key, random).as_bytes()), RootName::Trash(key));
            prop_assert_eq!(segment_number(segment(number).as_bytes()), Some(number));
            prop_assert_eq!(subtitle_number(subtitle(number).as_bytes()), Some(number));
        }

        #[test]
        fn a_number_has_one_name(name in prop_oneof![
            names(),
            "(seg|sub)-[+0]{0,2}[0-9]{0,20}\\.(m4s|vtt)".prop_map(String::into_bytes),
        ]) {
            if let Some(number) = segment_number(&name) {
                prop_assert_eq!(segment(number).into_bytes(), &*name);
            }
            if let Some(number) = subtitle_number(&name) {
                prop_assert_eq!(subtitle(number).into_bytes(), &*name);
            }
        }
    }
}
