//! The list of entries of `stats`.

use std::time::SystemTime;

use hls_cache::cache::{Entry, PinState};
use hls_cache::locks::Holder;
use hls_cache::plan::{Protection, Shield};
use hls_cache::units::{age, human_size};

use super::draw::{Align, Cell, Table, list_some};
use super::terminal::{Colour, Terminal};
use super::{account, human_span, title};
use crate::cli::library::Librarian;

/// How the entry is in use, in at most `width` columns; names only processes that could be identified.
pub fn describe_use(entry: &Entry, now: SystemTime, width: Option<usize>) -> String {
    let Some(protection) = Shield::default().protection(entry, now) else { return String::new() };
    let by_whom = |preposition: &str, users: &[Holder]| {
        let what = format!("{}{preposition}", account::of_protection(protection));
        let width = width.map(|width| width.saturating_sub(what.len()));
        what + &list_some(users.iter(), width)
    };
    match (protection, &entry.pin, entry.last_read) {
        (Protection::Pinned, PinState::Held(holders), _) if !holders.is_empty() => {
            by_whom(" by ", holders)
        }
        (Protection::Open, ..) => by_whom(" in ", &entry.open_in),
        (Protection::Read, _, Some(read)) => account::read_ago(age(now, read)),
        (Protection::Error, ..) => "unknown".into(),
        _ => account::of_protection(protection).into(),
    }
}

fn use_cell(entry: &Entry, now: SystemTime, room: usize, terminal: Terminal) -> Cell {
    let width = terminal.is_watched.then_some(room);
    Cell::painted(Colour::Use, describe_use(entry, now, width))
}

/// The lines of the list.
pub fn lines(
    entries: &[&Entry],
    librarian: &Librarian,
    now: SystemTime,
    terminal: Terminal,
) -> Vec<String> {
    if librarian.has_library() {
        named(entries, librarian, now, terminal).lines(terminal).collect()
    } else {
        unnamed(entries, now, terminal).lines(terminal).collect()
    }
}

fn unnamed(entries: &[&Entry], now: SystemTime, terminal: Terminal) -> Table<6> {
    let mut table = Table::new([
        ("key", Align::Left),
        ("state", Align::Left),
        ("size", Align::Right),
        ("unused for", Align::Right),
        ("files", Align::Right),
        ("in use", Align::Left),
    ]);
    for entry in entries {
        table.row([
            entry.key.to_string().into(),
            entry.state.code().into(),
            human_size(entry.bytes).into(),
            human_span(age(now, entry.last_used)).into(),
            entry.files.to_string().into(),
            Cell::default(),
        ]);
    }
    table.fill_last(terminal.width, entries, |entry, room| use_cell(entry, now, room, terminal));
    table
}

/// As a shelf: the title stands in front and gives way to everything else. The key stands beside it where there is room,
/// and always in a pipe.
fn named(
    entries: &[&Entry],
    librarian: &Librarian,
    now: SystemTime,
    terminal: Terminal,
) -> Table<7> {
    /// Columns of a terminal on which the key leaves a title of 40.
    const WIDE: usize = 120;
    /// Columns that a title has at least.
    const LEAST_TITLE: usize = 16;
    /// Columns that the use has at least: `pinned by mpv[12345]`.
    const LEAST_USE: usize = 20;
    let shows_key = !terminal.is_watched || terminal.width >= WIDE;
    let mut table = Table::new([
        ("title", Align::Left),
        ("quality", Align::Left),
        ("track", Align::Right),
        ("size", Align::Right),
        ("unused for", Align::Right),
        (if shows_key { "key" } else { "" }, Align::Left),
        ("in use", Align::Left),
    ]);
    for entry in entries {
        let (quality, track) = match librarian.source(entry.key) {
            Some(source) => (title::quality(source), title::track(source)),
            None => (String::new(), String::new()),
        };
        table.row([
            Cell::default(),
            quality.into(),
            track.into(),
            human_size(entry.bytes).into(),
            human_span(age(now, entry.last_used)).into(),
            if shows_key { entry.key.to_string().into() } else { Cell::default() },
            Cell::default(),
        ]);
    }
    let is_used = |entry: &&Entry| Shield::default().protection(entry, now).is_some();
    let least_use = if entries.iter().any(is_used) { LEAST_USE } else { 0 };
    let room = table.room(0, terminal.width).saturating_sub(least_use).max(LEAST_TITLE);
    let room = terminal.is_watched.then_some(room);
    table.fill(0, entries, |entry| match librarian.source(entry.key) {
        Some(source) => title::shorten(&title::title(source), room).into(),
        None => Cell::painted(Colour::Dim, entry.key.to_string()),
    });
    table.fill_last(terminal.width, entries, |entry, room| use_cell(entry, now, room, terminal));
    table
}
