//! What the reader's terminal can show, detected once and passed to the renderers.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::ops::RangeInclusive;
use std::os::fd::AsFd;

use clap::ColorChoice;

/// For a pipe, a file, or a terminal of unknown width.
const USUAL_WIDTH: usize = 80;

/// What may be written to a stream. The default is for a pipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terminal {
    /// In columns.
    pub width: usize,
    /// Whether the stream is a terminal.
    pub is_watched: bool,
    /// Whether the cursor can move, to overwrite what is shown.
    pub moves: bool,
    pub colour: bool,
    /// Whether block characters may be used.
    pub utf8: bool,
}

impl Default for Terminal {
    fn default() -> Self {
        Self { width: USUAL_WIDTH, is_watched: false, moves: false, colour: false, utf8: false }
    }
}

impl Terminal {
    /// Examines the stream and the environment. `colours` is what the user wants, whatever these say.
    pub fn of(stream: &(impl IsTerminal + AsFd), colours: ColorChoice) -> Self {
        let columns = || Some(rustix::termios::tcgetwinsize(stream).ok()?.ws_col.into());
        let is_watched = stream.is_terminal();
        let columns = columns().filter(|_| is_watched);
        let found = Self::new(is_watched, columns, |name| std::env::var_os(name));
        let colour = match colours {
            ColorChoice::Auto => found.colour,
            ColorChoice::Always => true,
            ColorChoice::Never => false,
        };
        Self { colour, ..found }
    }

    fn new(
        is_watched: bool,
        columns: Option<usize>,
        variable: impl Fn(&str) -> Option<OsString>,
    ) -> Self {
        /// Plausible widths. A key does not fit a narrower line; the bars of a mistakenly huge one would
        /// fill gigabytes.
        const PLAUSIBLE: RangeInclusive<usize> = 20..=500;
        // An empty variable counts as unset, by POSIX for the locale and by no-color.org for NO_COLOR.
        let set = |name| variable(name).filter(|value| !value.is_empty());
        let text = |name| set(name).map(|value| value.to_string_lossy().into_owned());
        let given = text("COLUMNS").and_then(|columns| columns.parse().ok());
        let mut widths = [given, columns].into_iter().flatten();
        let width = widths.find(|width| PLAUSIBLE.contains(width)).unwrap_or(USUAL_WIDTH);
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(text).unwrap_or_default();
        let locale = locale.to_ascii_lowercase();
        let is_dumb = set("TERM").is_none_or(|term| term == "dumb");
        let moves = is_watched && !is_dumb;
        Self {
            width,
            is_watched,
            moves,
            colour: moves && set("NO_COLOR").is_none(),
            utf8: is_watched && (locale.contains("utf-8") || locale.contains("utf8")),
        }
    }

    /// The text in a colour, if colours may be used.
    pub fn paint(self, colour: Colour, text: &str) -> String {
        match colour.code().filter(|_| self.colour && !text.is_empty()) {
            Some(code) => format!("\x1b[{code}m{text}\x1b[0m"),
            None => text.to_owned(),
        }
    }
}

/// Emphasis; a colour never says more than the words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Colour {
    #[default]
    Plain,
    /// A heading, or what is wrong.
    Bold,
    /// Secondary.
    Dim,
    /// Gone, or going.
    Removal,
    /// In use, or being encoded: it stays.
    Use,
}

impl Colour {
    /// One of the sixteen basic colours, which users configure to be legible.
    fn code(self) -> Option<&'static str> {
        match self {
            Self::Plain => None,
            Self::Bold => Some("1"),
            Self::Dim => Some("2"),
            Self::Removal => Some("31"),
            Self::Use => Some("33"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terminal(columns: Option<usize>, variables: &[(&str, &str)]) -> Terminal {
        Terminal::new(columns.is_some(), columns, |name| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into())
        })
    }

    #[test]
    fn colours_need_a_capable_terminal_and_no_refusal() {
        let on = |variables| terminal(Some(80), variables).colour;
        assert!(on(&[("TERM", "xterm")]));
        assert!(on(&[("TERM", "xterm"), ("NO_COLOR", "")]));
        assert!(!on(&[("TERM", "xterm"), ("NO_COLOR", "0")]));
        assert!(!on(&[("TERM", "dumb")]) && !on(&[]) && !on(&[("TERM", "")]));
        assert!(!terminal(None, &[("TERM", "xterm")]).colour);
    }

    #[test]
    fn the_first_locale_variable_that_is_set_decides() {
        let utf8 = |variables| terminal(Some(80), variables).utf8;
        assert!(utf8(&[("LANG", "en_GB.UTF-8")]) && utf8(&[("LC_CTYPE", "C.utf8")]));
        assert!(utf8(&[("LC_ALL", ""), ("LC_CTYPE", "de_DE.UTF-8"), ("LANG", "C")]));
        assert!(!utf8(&[("LC_ALL", "C"), ("LANG", "en_GB.UTF-8")]));
        assert!(!utf8(&[]) && !utf8(&[("LANG", "en_GB")]));
        assert!(!terminal(None, &[("LANG", "en_GB.UTF-8")]).utf8, "piped");
    }

    #[test]
    fn the_width_is_that_of_columns_or_of_the_terminal() {
        assert_eq!(terminal(Some(200), &[]).width, 200);
        assert_eq!(terminal(Some(200), &[("COLUMNS", "100")]).width, 100);
        assert_eq!(terminal(Some(0), &[]).width, 80);
        assert_eq!(terminal(None, &[]).width, 80);
        for text in ["wide", "-1"] {
            assert_eq!(terminal(None, &[("COLUMNS", text)]).width, 80);
        }
        for plausible in [20, 500] {
            assert_eq!(terminal(Some(plausible), &[]).width, plausible);
            assert_eq!(terminal(None, &[("COLUMNS", &plausible.to_string())]).width, plausible);
        }
        for mistaken in [0, 1, 3, 19, 501, 65_535, 4_294_967_295, usize::MAX] {
            assert_eq!(terminal(Some(mistaken), &[]).width, 80);
            let columns = mistaken.to_string();
            assert_eq!(terminal(None, &[("COLUMNS", &columns)]).width, 80);
            assert_eq!(terminal(Some(100), &[("COLUMNS", &columns)]).width, 100);
        }
    }
}
