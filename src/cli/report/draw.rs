//! Tables and bars as text. Pure: the terminal's abilities are arguments.

use std::fmt;

use unicode_width::UnicodeWidthStr;

use super::terminal::{Colour, Terminal};

/// Alignment of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    Left,
    /// For numbers.
    Right,
}

/// A text in a table.
#[derive(Clone, Debug, Default)]
pub struct Cell {
    text: String,
    colour: Colour,
}

impl Cell {
    pub fn painted(colour: Colour, text: impl Into<String>) -> Self {
        Self { text: text.into(), colour }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::painted(Colour::Plain, text)
    }
}

/// Rows of `N` columns under a header, two spaces apart, without trailing spaces.
pub struct Table<const N: usize> {
    aligns: [Align; N],
    rows: Vec<[Cell; N]>,
}

impl<const N: usize> Table<N> {
    pub fn new(header: [(&str, Align); N]) -> Self {
        let rows = vec![header.map(|(name, _)| Cell::painted(Colour::Dim, name))];
        Self { aligns: header.map(|(_, align)| align), rows }
    }

    pub fn row(&mut self, row: [Cell; N]) {
        self.rows.push(row);
    }

    /// Fills the last column. `about` has one item per row; `cell` gets it with the columns that the others
    /// leave of `width`.
    pub fn fill_last<T>(&mut self, width: usize, about: &[T], cell: impl Fn(&T, usize) -> Cell) {
        let room = self.room(N - 1, width);
        self.fill(N - 1, about, |about| cell(about, room));
    }

    /// Fills a column from what the rows are about.
    pub fn fill<T>(&mut self, column: usize, about: &[T], cell: impl Fn(&T) -> Cell) {
        for (row, about) in self.rows.iter_mut().skip(1).zip(about) {
            row[column] = cell(about);
        }
    }

    /// Columns that the others leave of `width` to a column.
    pub fn room(&self, column: usize, width: usize) -> usize {
        let widths = self.widths();
        let others: usize = widths.iter().sum::<usize>() - widths[column] + GAP * (N - 1);
        width.saturating_sub(others)
    }

    fn widths(&self) -> [usize; N] {
        std::array::from_fn(|column| {
            self.rows.iter().map(|row| row[column].text.width()).max().unwrap_or(0)
        })
    }

    pub fn lines(&self, terminal: Terminal) -> impl Iterator<Item = String> {
        let widths = self.widths();
        self.rows.iter().map(move |row| {
            let mut line = String::new();
            // Spaces, written only when text follows them.
            let mut pending = 0;
            for ((cell, align), width) in row.iter().zip(self.aligns).zip(widths) {
                let padding = width - cell.text.width();
                let (before, after) =
                    if align == Align::Right { (padding, 0) } else { (0, padding) };
                if cell.text.is_empty() {
                    pending += padding;
                } else {
                    line.extend(std::iter::repeat_n(' ', pending + before));
                    line += &terminal.paint(cell.colour, &cell.text);
                    pending = after;
                }
                pending += GAP;
            }
            line
        })
    }
}

/// Spaces between columns.
const GAP: usize = 2;

/// A bar that fills as much of `width` as `value` is of `whole`, in eighths of a character or in `#`. A
/// nonzero value draws at least one cell.
pub fn bar(value: u64, whole: u64, width: usize, utf8: bool) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let cell = if utf8 { EIGHTHS.len() } else { 1 };
    let most = width * cell;
    let length = u128::from(value) * most as u128 / u128::from(whole.max(1));
    let length = usize::try_from(length).unwrap_or(most);
    let length = length.max(usize::from(value > 0)).min(most);
    let full = if utf8 { "█" } else { "#" };
    full.repeat(length / cell) + EIGHTHS[length % cell]
}

/// A bar in a frame that shows its full width.
pub fn gauge(value: u64, whole: u64, width: usize, utf8: bool) -> String {
    let bar = bar(value, whole, width, utf8);
    let rest = width.saturating_sub(bar.chars().count());
    if utf8 { bar + &"░".repeat(rest) } else { format!("[{bar}{}]", ".".repeat(rest)) }
}

/// The lines of a text whose words are kept together, none wider than `width` unless one word is.
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let Some(line) = lines.last_mut() else { continue };
        if line.is_empty() {
            *line += word;
        } else if line.chars().count() + 1 + word.chars().count() <= width {
            *line = format!("{line} {word}");
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

/// As many of `names` as fit `width` columns (`None`: all), and the number of the others. Does not format
/// names that cannot fit.
pub fn list_some<T: fmt::Display>(
    names: impl ExactSizeIterator<Item = T>,
    width: Option<usize>,
) -> String {
    let and_more = |count| if count == 0 { String::new() } else { format!(" and {count} more") };
    let width = width.unwrap_or(usize::MAX);
    let count = names.len();
    let (mut list, mut columns) = (String::new(), 0);
    // Where the longest list that fits ends, and how many names it leaves out.
    let (mut end, mut left_out) = (0, count);
    for (index, name) in names.enumerate() {
        let separator = if index == 0 { "" } else { ", " };
        let name = format!("{separator}{name}");
        columns += name.chars().count();
        list += &name;
        let rest = count - index - 1;
        // List at least one name.
        if index == 0 || columns + and_more(rest).len() <= width {
            (end, left_out) = (list.len(), rest);
        }
        if columns > width {
            break;
        }
    }
    list.truncate(end);
    list + &and_more(left_out)
}

/// As many of `names` as fit a line of a journal, and the number of the others.
pub fn name_some<T: fmt::Display>(names: impl ExactSizeIterator<Item = T>) -> String {
    /// Columns that a terminal leaves beside the time, the host and the rest of the sentence.
    const ROOM: usize = 80;
    list_some(names, Some(ROOM))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell;

    #[test]
    fn a_table_is_aligned_and_has_no_trailing_spaces() {
        let mut table =
            Table::new([("name", Align::Left), ("size", Align::Right), ("note", Align::Left)]);
        table.row(["a".into(), "5 B".into(), "x".into()]);
        table.row(["longer".into(), "1.5 GiB".into(), "".into()]);
        table.row(["".into(), "".into(), Cell::painted(Colour::Use, "alone")]);
        let pipe = Terminal::default();
        let lines: Vec<String> = table.lines(pipe).collect();
        assert_eq!(
            lines,
            [
                "name       size  note",
                "a           5 B  x",
                "longer  1.5 GiB",
                "                 alone"
            ]
        );
        let colourful: Vec<String> = table.lines(Terminal { colour: true, ..pipe }).collect();
        assert_eq!(colourful[3], "                 \x1b[33malone\x1b[0m");
        assert_eq!(colourful[1], lines[1]);
        table.fill_last(80, &["a"], |about, room| format!("{about}:{room}").into());
        assert_eq!(table.lines(pipe).nth(1).unwrap(), "a           5 B  a:63");
    }

    #[test]
    fn a_bar_is_to_scale_and_never_longer_than_its_place() {
        for (value, width, ascii, blocks) in [
            (0, 4, "", ""),
            (1, 4, "#", "▏"),
            (50, 4, "##", "██"),
            (60, 4, "##", "██▍"),
            (99, 4, "###", "███▉"),
            (100, 4, "####", "████"),
            (u64::MAX, 4, "####", "████"),
            (100, 0, "", ""),
        ] {
            assert_eq!(bar(value, 100, width, false), ascii, "{value}");
            assert_eq!(bar(value, 100, width, true), blocks, "{value}");
        }
        assert_eq!(bar(5, 0, 2, false), "##");
        assert_eq!(gauge(50, 100, 4, false), "[##..]");
        assert_eq!(gauge(50, 100, 4, true), "██░░");
    }

    #[test]
    fn a_list_gives_way_to_a_count() {
        let names = ["mpv[1]", "jellyfin[22]", "sh[333]"].map(String::from);
        let list = |width| list_some(names.iter(), width);
        assert_eq!(list(None), "mpv[1], jellyfin[22], sh[333]");
        assert_eq!(list(Some(29)), "mpv[1], jellyfin[22], sh[333]");
        assert_eq!(list(Some(28)), "mpv[1] and 2 more");
        assert_eq!(list(Some(3)), "mpv[1] and 2 more");
        assert_eq!(list_some([""; 0].iter(), Some(3)), "");
    }

    #[test]
    fn a_text_is_broken_between_words() {
        assert_eq!(wrap("at 1 GiB, more", 80), ["at 1 GiB, more"]);
        assert_eq!(wrap("at 1 GiB, more", 9), ["at 1 GiB,", "more"]);
        assert_eq!(wrap("at 1 GiB, more", 8), ["at 1", "GiB,", "more"]);
        assert_eq!(wrap("longest word", 0), ["longest", "word"]);
        assert_eq!(wrap("", 5), [""]);
    }

    #[test]
    fn names_that_do_not_fit_are_not_formatted() {
        let written = cell::Cell::new(0);
        let names = (0..50_000).inspect(|_| written.set(written.get() + 1));
        assert_eq!(list_some(names, Some(24)), "0, 1, 2 and 49997 more");
        assert_eq!(written.get(), 9);
    }
}
