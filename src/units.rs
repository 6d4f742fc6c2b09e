//! Sizes, percentages, durations and instants as people and JSON write them.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

/// A number of bytes. Bare digits are bytes; `K M G T` and `KiB MiB GiB TiB` are powers of 1024, `KB
/// MB GB TB` of 1000; decimals are allowed and rounded down to whole bytes. Case does not matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

/// Text that is not a size, a percentage or a duration; the message says what is valid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidUnit(String);

impl FromStr for Size {
    type Err = InvalidUnit;

    fn from_str(text: &str) -> Result<Self, InvalidUnit> {
        let invalid = || {
            InvalidUnit("not a size: write bytes, or for instance 500M, 1.5G, 20GiB, 2TB".into())
        };
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let factor: u64 = match text[digits.len()..].to_ascii_lowercase().as_str() {
            "" | "b" => 1,
            "k" | "kib" => 1 << 10,
            "m" | "mib" => 1 << 20,
            "g" | "gib" => 1 << 30,
            "t" | "tib" => 1 << 40,
            "kb" => 1_000,
            "mb" => 1_000_000,
            "gb" => 1_000_000_000,
            "tb" => 1_000_000_000_000,
            _ => return Err(invalid()),
        };
        let (numerator, denominator) = decimal(digits).ok_or_else(invalid)?;
        let bytes = numerator
            .checked_mul(u128::from(factor))
            .and_then(|product| u64::try_from(product / denominator).ok());
        bytes.map(Size).ok_or_else(|| InvalidUnit("too large: sizes end below 16 EiB".into()))
    }
}

/// A plain decimal number as an exact fraction; no sign, no exponent.
fn decimal(text: &str) -> Option<(u128, u128)> {
    // Longer than any u64 with a fraction; keeps the products below inside u128.
    const MAX_DIGITS: usize = 26;
    let (whole, fraction) = text.split_once('.').map_or((text, None), |(w, f)| (w, Some(f)));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !fraction.is_none_or(digits) {
        return None;
    }
    let fraction = fraction.unwrap_or("");
    if whole.len() + fraction.len() > MAX_DIGITS {
        return None;
    }
    let numerator = format!("{whole}{fraction}").parse().ok()?;
    Some((numerator, 10_u128.pow(u32::try_from(fraction.len()).ok()?)))
}

/// Free space to keep: bytes, or a share of the file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FreeSpace {
    /// A number of bytes.
    Bytes(u64),
    /// Millionths of the file system's size (`10%` is 100,000), for decimals without floats.
    Millionths(u32),
}

impl FreeSpace {
    /// The target in bytes on a file system of `total` bytes, rounded up.
    pub fn target(self, total: u64) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Millionths(share) => {
                let bytes = (u128::from(total) * u128::from(share)).div_ceil(1_000_000);
                u64::try_from(bytes).unwrap_or(u64::MAX)
            }
        }
    }
}

impl FromStr for FreeSpace {
    type Err = InvalidUnit;

    fn from_str(text: &str) -> Result<Self, InvalidUnit> {
        let Some(number) = text.strip_suffix('%') else {
            return text.parse().map(|Size(bytes)| Self::Bytes(bytes));
        };
        decimal(number)
            .filter(|(numerator, denominator)| *numerator <= denominator * 100)
            .and_then(|(numerator, denominator)| {
                u32::try_from(numerator * 10_000 / denominator).ok()
            })
            .map(Self::Millionths)
            .ok_or_else(|| InvalidUnit("not a percentage from 0% to 100%".into()))
    }
}

impl fmt::Display for FreeSpace {
    /// As it is read again.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => f.write_str(&exact_size(*bytes)),
            Self::Millionths(share) if share % 10_000 == 0 => write!(f, "{}%", share / 10_000),
            Self::Millionths(share) => write!(f, "{}.{:04}%", share / 10_000, share % 10_000),
        }
    }
}

/// A whole percentage from 1 to 100; `75%` or `75`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Percent(u8);

impl Percent {
    /// 100 %.
    pub const ALL: Self = Self(100);

    /// From 1 to 100.
    pub fn get(self) -> u8 {
        self.0
    }

    /// This share of `bytes`, rounded down.
    pub fn of(self, bytes: u64) -> u64 {
        u64::try_from(u128::from(bytes) * u128::from(self.0) / 100).unwrap_or(u64::MAX)
    }
}

impl FromStr for Percent {
    type Err = InvalidUnit;

    fn from_str(text: &str) -> Result<Self, InvalidUnit> {
        let number = text.strip_suffix('%').unwrap_or(text);
        number
            .parse()
            .ok()
            .filter(|percent| (1..=100).contains(percent) && !number.starts_with('+'))
            .map(Self)
            .ok_or_else(|| InvalidUnit("not a whole percentage from 1 to 100".into()))
    }
}

/// A span of time: `90s`, `10m`, `24h`, `7d` and combinations (`1h30m`). Weeks are the longest unit:
/// months and years have no fixed length, and `10M` for ten minutes must not mean ten months.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimeSpan(pub Duration);

impl FromStr for TimeSpan {
    type Err = InvalidUnit;

    fn from_str(text: &str) -> Result<Self, InvalidUnit> {
        const CALENDAR_UNITS: [&str; 8] =
            ["M", "month", "months", "y", "yr", "yrs", "year", "years"];
        let mut units = text.split(|c: char| !c.is_alphabetic());
        let is_fixed = !units.any(|unit| CALENDAR_UNITS.contains(&unit));
        // humantime accepts a bare 0, which is as likely a typo as any other number without a unit.
        let is_valid = is_fixed && text != "0";
        humantime::parse_duration(text).ok().filter(|_| is_valid).map(Self).ok_or_else(|| {
            InvalidUnit("not a duration: write for instance 90s, 10m, 24h, 7d or 1h30m".into())
        })
    }
}

/// A size for people, in powers of 1024: `1.5 GiB`.
pub fn human_size(bytes: u64) -> String {
    humansize::format_size(bytes, humansize::BINARY)
}

/// The same size as the user writes one, exactly: `200G`, and `1500B` where no unit of 1024 divides it.
pub fn exact_size(bytes: u64) -> String {
    let units = [("T", 40), ("G", 30), ("M", 20), ("K", 10)];
    let fits = |&(_, shift): &(&str, u32)| bytes > 0 && bytes.trailing_zeros() >= shift;
    match units.into_iter().find(fits) {
        Some((unit, shift)) => format!("{}{unit}", bytes >> shift),
        None => format!("{bytes}B"),
    }
}

/// The time from `then` to `now`; zero if `then` lies in the future.
pub fn age(now: SystemTime, then: SystemTime) -> Duration {
    now.duration_since(then).unwrap_or_default()
}

/// The instant of a file's `st_mtime`, or of an event; the epoch if `SystemTime` cannot hold it.
pub fn instant(seconds: i64, nanoseconds: u32) -> SystemTime {
    let whole = Duration::from_secs(seconds.unsigned_abs());
    let base = if seconds < 0 {
        SystemTime::UNIX_EPOCH.checked_sub(whole)
    } else {
        SystemTime::UNIX_EPOCH.checked_add(whole)
    };
    base.and_then(|time| time.checked_add(Duration::from_nanos(nanoseconds.into())))
        .unwrap_or(SystemTime::UNIX_EPOCH)
}

/// Whole seconds since the epoch, rounded down; negative before it.
pub fn unix_seconds(time: SystemTime) -> i64 {
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_secs()).unwrap_or(i64::MAX),
        Err(before) => {
            let before = before.duration();
            let up = u64::from(before.subsec_nanos() > 0);
            i64::try_from(before.as_secs().saturating_add(up)).map_or(i64::MIN, |seconds| -seconds)
        }
    }
}

/// RFC 3339 in UTC.
pub fn rfc3339(time: SystemTime) -> String {
    timestamp(time).to_string()
}

/// The time on the calendar; one outside the calendar's years becomes the nearest inside.
pub(crate) fn timestamp(time: SystemTime) -> jiff::Timestamp {
    let nearest =
        if time < SystemTime::UNIX_EPOCH { jiff::Timestamp::MIN } else { jiff::Timestamp::MAX };
    jiff::Timestamp::try_from(time).unwrap_or(nearest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::mutated::mutated_text;
    use proptest::prelude::*;

    /// The part of the message before the remedy.
    fn reason<T: std::fmt::Debug>(parsed: Result<T, InvalidUnit>) -> String {
        let message = parsed.unwrap_err().to_string();
        message.split(':').next().unwrap().to_owned()
    }

    #[test]
    fn what_is_written_exactly_is_read_again() {
        for bytes in [0, 1, 1023, 1024, 1536, 400 << 10, 3 << 30, (3 << 30) + 1, 1 << 40, u64::MAX]
        {
            assert_eq!(exact_size(bytes).parse(), Ok(Size(bytes)), "{bytes}");
            let free = FreeSpace::Bytes(bytes);
            assert_eq!(free.to_string().parse(), Ok(free));
        }
        for share in ["5%", "0%", "100%", "12.5%", "0.0001%"] {
            let free: FreeSpace = share.parse().unwrap();
            assert_eq!(free.to_string().parse(), Ok(free), "{share}");
        }
        assert_eq!((exact_size(200 << 30), exact_size(1500)), ("200G".into(), "1500B".into()));
    }

    #[test]
    fn sizes_mean_what_the_documentation_says() {
        for (text, bytes) in [
            ("0", 0),
            ("512", 512),
            ("512B", 512),
            ("1K", 1 << 10),
            ("1KiB", 1 << 10),
            ("1kb", 1000),
            ("1KB", 1000),
            ("3M", 3 << 20),
            ("3MB", 3_000_000),
            ("10MiB", 10 << 20),
            ("10G", 10 << 30),
            ("1.5G", 3 << 29),
            ("1.5GB", 1_500_000_000),
            ("2TB", 2_000_000_000_000),
            ("1T", 1 << 40),
            ("16777215T", 16_777_215 << 40),
            ("0.5KiB", 512),
            ("0.0001K", 0),
            ("18446744073709551615", u64::MAX),
        ] {
            assert_eq!(text.parse(), Ok(Size(bytes)), "{text}");
        }
        for text in [
            "",
            "G",
            "-1",
            "+1",
            "1e3",
            "1,5G",
            "1.G",
            ".5G",
            "1 G",
            "1GG",
            "1P",
            "ten",
            "NaN",
            "١G",
            "1G\n",
            "10X",
            "1.2.3M",
            "1.5.G",
            "KiB",
            "10iB",
            "10 apples",
            "1e999",
            "inf",
            "0x10",
        ] {
            assert_eq!(reason(text.parse::<Size>()), "not a size", "{text:?}");
        }
        for text in ["18446744073709551616", "16777216T", "99999999999T", "99999999999999999999999"]
        {
            assert_eq!(reason(text.parse::<Size>()), "too large", "{text:?}");
        }
    }

    #[test]
    fn free_space_is_bytes_or_a_share() {
        assert_eq!("10%".parse(), Ok(FreeSpace::Millionths(100_000)));
        assert_eq!("2.5%".parse(), Ok(FreeSpace::Millionths(25_000)));
        assert_eq!("100.000%".parse(), Ok(FreeSpace::Millionths(1_000_000)));
        assert_eq!("1G".parse(), Ok(FreeSpace::Bytes(1 << 30)));
        assert_eq!(FreeSpace::Millionths(100_000).target(1001), 101);
        assert_eq!(FreeSpace::Millionths(1_000_000).target(u64::MAX), u64::MAX);
        for text in ["%", "101%", "-1%", "10%%", "100.0000000001%", "a%", "ten%"] {
            let refused = text.parse::<FreeSpace>();
            assert_eq!(reason(refused), "not a percentage from 0% to 100%", "{text:?}");
        }
        assert_eq!(reason("ten".parse::<FreeSpace>()), "not a size");
    }

    #[test]
    fn percentages_go_from_1_to_100() {
        assert_eq!(
            "75%".parse::<Percent>().map(|percent| percent.of(u64::MAX / 3)),
            Ok(u64::MAX / 4)
        );
        assert_eq!("100".parse(), Ok(Percent::ALL));
        for text in [
            "0",
            "0%",
            "101",
            "101%",
            "256%",
            "1000000000000%",
            "-1",
            "-1%",
            "+1",
            "1.5",
            "%",
            "",
            "10%%",
            "ten%",
        ] {
            let refused = text.parse::<Percent>();
            assert_eq!(reason(refused), "not a whole percentage from 1 to 100", "{text:?}");
        }
    }

    #[test]
    fn durations_combine() {
        for (text, seconds) in [
            ("90s", 90),
            ("10m", 600),
            ("24h", 86_400),
            ("7d", 604_800),
            ("1h30m", 5400),
            ("0s", 0),
            ("2w", 1_209_600),
            ("5min 1 day", 86_700),
            ("1d2h3m4s", 93_784),
        ] {
            assert_eq!(text.parse(), Ok(TimeSpan(Duration::from_secs(seconds))), "{text}");
        }
        assert_eq!("1500ms".parse(), Ok(TimeSpan(Duration::from_millis(1500))));
        for text in ["10M", "1month", "2 months", "1y", "1yr", "2yrs", "1year", "1d2M", "1M 1d"] {
            assert_eq!(
                reason(text.parse::<TimeSpan>()),
                "not a duration",
                "{text:?}: no fixed length"
            );
        }
        for text in [
            "",
            "10",
            "0",
            "00",
            "0.0",
            " 0",
            "-1s",
            "-1h",
            "1x",
            "10x",
            "ten",
            "s",
            "h",
            "1h-",
            "1h 3q",
            "10 parsecs",
            "NaNs",
            "99999999999999999999d",
        ] {
            assert_eq!(reason(text.parse::<TimeSpan>()), "not a duration", "{text:?}");
        }
    }

    #[test]
    fn instants_at_the_edges_of_time_are_written_and_never_panic() {
        assert_eq!(rfc3339(instant(0, 0)), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(instant(-1, 500_000_000)), "1969-12-31T23:59:59.5Z");
        assert_eq!(unix_seconds(instant(-1, 500_000_000)), -1);
        for seconds in [i64::MIN, i64::MAX, -62_200_000_000, 300_000_000_000] {
            assert_eq!(unix_seconds(instant(seconds, 999_999_999)), seconds);
            assert!(rfc3339(instant(seconds, 999_999_999)).ends_with('Z'));
        }
        assert_eq!(age(instant(5, 0), instant(9, 0)), Duration::ZERO);
    }

    proptest! {
        #[test]
        fn no_text_makes_a_parser_panic(text in ".{0,40}") {
            let _ = text.parse::<Size>();
            let _ = text.parse::<FreeSpace>();
            let _ = text.parse::<Percent>();
            let _ = text.parse::<TimeSpan>();
            let _ = text.parse::<crate::key::Key>();
        }

        #[test]
        fn no_unit_with_a_typo_makes_a_parser_panic(text in proptest::sample::select(vec![
            "1.5GiB", "200G", "10 MB", "12.5%", "75%", "1h30m", "7d", "90s 10m", "18446744073709551615B",
            "99999999999999999999T", "0.0000000000000000000000001K",
        ]).prop_flat_map(mutated_text)) {
            let _ = text.parse::<Size>();
            if let Ok(free) = text.parse::<FreeSpace>() {
                prop_assert_eq!(free.to_string().parse(), Ok(free));
            }
            if let Ok(percent) = text.parse::<Percent>() {
                prop_assert!((1..=100).contains(&percent.get()));
            }
            let _ = text.parse::<TimeSpan>();
        }

        #[test]
        fn bytes_come_back(bytes: u64, shift in 0..64_u32, share in 0..=1_000_000_u32) {
            prop_assert_eq!(bytes.to_string().parse(), Ok(Size(bytes)));
            // A multiple of a unit, too.
            let bytes = bytes >> shift << shift;
            prop_assert_eq!(exact_size(bytes).parse(), Ok(Size(bytes)));
            for free in [FreeSpace::Bytes(bytes), FreeSpace::Millionths(share)] {
                prop_assert_eq!(free.to_string().parse(), Ok(free));
            }
        }

        #[test]
        fn unix_seconds_undo_instants(seconds: i64, nanos in 0_u32..1_000_000_000) {
            prop_assert_eq!(unix_seconds(instant(seconds, nanos)), seconds);
        }
    }
}
