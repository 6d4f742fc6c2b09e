//! Names of entries for people: what a media library knows of a key.

use hls_cache::Escaped;
use hls_cache::library::Source;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::terminal::Terminal;

/// The media file, below its media directory.
pub fn title(source: &Source) -> String {
    Escaped::new(source.title()).to_string()
}

pub fn quality(source: &Source) -> String {
    Escaped::new(&source.quality).to_string()
}

/// The audio track, as daemons number it.
pub fn track(source: &Source) -> String {
    source.audio.to_string()
}

/// What was encoded: `1080p, track 2`.
pub fn variant(source: &Source) -> String {
    let mut parts = Vec::new();
    if !source.quality.is_empty() {
        parts.push(quality(source));
    }
    parts.push(match source.audio {
        -1 => "default track".to_owned(),
        audio => format!("track {audio}"),
    });
    if let Some(burn) = source.burn.filter(|&burn| burn >= 0) {
        parts.push(format!("subtitle {burn} burnt in"));
    }
    parts.join(", ")
}

/// Title and variant in at most `width` columns, where one is given: `films/Alien (1979).mkv, 1080p, track 2`.
pub fn describe(source: &Source, width: Option<usize>) -> String {
    let variant = variant(source);
    let room = width.map(|width| width.saturating_sub(variant.width() + 2));
    format!("{}, {variant}", shorten(&title(source), room))
}

/// The line of an entry with its name: under it where a terminal is too narrow for both, else at its end, since a
/// journal needs all on one line.
pub fn add(line: String, source: Option<&Source>, terminal: Terminal) -> String {
    const INDENT: &str = "    ";
    match source {
        None => line,
        Some(source) if terminal.is_watched => {
            let name = describe(source, Some(terminal.width.saturating_sub(INDENT.len())));
            format!("{line}\n{INDENT}{name}")
        }
        Some(source) => format!("{line}  {}", describe(source, None)),
    }
}

/// The text in at most `width` columns: what is too long loses its middle, since a path's beginning tells the
/// series and its end the episode.
pub fn shorten(text: &str, width: Option<usize>) -> String {
    const CUT: &str = "...";
    let Some(width) = width.filter(|&width| text.width() > width) else { return text.to_owned() };
    let Some(room) = width.checked_sub(CUT.len()).filter(|&room| room > 0) else {
        return CUT[..width.min(CUT.len())].to_owned();
    };
    // The end gets the odd column.
    let begin = take(text.chars(), room / 2);
    let end: String = take(text.chars().rev(), room - room / 2).chars().rev().collect();
    begin + CUT + &end
}

/// As many characters as fit `width` columns.
fn take(text: impl Iterator<Item = char>, width: usize) -> String {
    let mut left = width;
    let fits = |c: &char| {
        let columns = c.width().unwrap_or(0);
        let fits = columns <= left;
        left = left.saturating_sub(columns);
        fits
    };
    text.take_while(fits).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_loses_its_middle() {
        for (text, width, short) in [
            ("abcdefghij", 10, "abcdefghij"),
            ("abcdefghijk", 10, "abc...hijk"),
            ("abcdefghijk", 4, "...k"),
            ("abcdefghijk", 3, "..."),
            ("abcdefghijk", 0, ""),
            // Two columns each.
            ("七人の侍七人の侍", 16, "七人の侍七人の侍"),
            ("七人の侍七人の侍", 15, "七人の...人の侍"),
        ] {
            assert_eq!(shorten(text, Some(width)), short);
            assert!(short.width() <= width);
        }
        assert_eq!(shorten("abcdefghijk", None), "abcdefghijk");
    }
}
