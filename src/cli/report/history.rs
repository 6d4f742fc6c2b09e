//! What the event log tells: days, evictions, and the hits of other sizes, as tables, bars and one sentence of advice.

use std::io::{self, Write};
use std::time::Duration;

use hls_cache::cache::events::HitRate;
use hls_cache::history::{
    Advice, Day, Evictions, History, HitShare, MIN_REQUESTS, PRESENT, Unknown, WhatIf,
};
use hls_cache::units::human_size;

use super::draw::{Align, Cell, Table, bar, wrap};
use super::terminal::{Colour, Terminal};
use super::{count_entries, human_span};

/// In columns: wider, the eye loses the line between a number and its bar.
const WIDEST: usize = 100;

/// Shows the history; `is_budget` says whether the sizes are compared with a budget or with what is there.
pub fn human(
    history: &History,
    is_budget: bool,
    out: &mut dyn Write,
    terminal: Terminal,
) -> io::Result<()> {
    let terminal = Terminal { width: terminal.width.min(WIDEST), ..terminal };
    let (plays, evictions) = (requests(history.logged), &history.evictions);
    if plays == 0 && evictions.count == 0 {
        return facts(
            out,
            terminal,
            &[("history", "unknown (no plays or evictions logged)".into())],
        );
    }
    table(out, terminal, &days(&history.days, terminal))?;
    writeln!(out)?;
    if history.hit_age.is_some() || evictions.age.is_some() {
        table(out, terminal, &ages(history))?;
        writeln!(out)?;
    }
    facts(out, terminal, &[("evicted", evicted(evictions, history.logged))])?;
    writeln!(out)?;
    let mut said = Vec::new();
    if plays > 0 && !history.what_if.is_empty() {
        table(out, terminal, &curve(&history.what_if, is_budget, terminal))?;
        writeln!(out)?;
        said.push(("logged", logged(history, is_budget)));
    }
    match history.guessed_sizes {
        0 => {}
        1 => said
            .push(("sizes", "the size of 1 entry is not known; the median stands for it".into())),
        count => {
            said.push((
                "sizes",
                format!("the sizes of {count} entries are not known; the median stands for them"),
            ));
        }
    }
    said.push(("advice", advice(history.advice)));
    facts(out, terminal, &said)
}

fn table<const N: usize>(
    out: &mut dyn Write,
    terminal: Terminal,
    table: &Table<N>,
) -> io::Result<()> {
    table.lines(terminal).try_for_each(|line| writeln!(out, "{line}"))
}

/// Names and what is said of them, as at the end of `stats`.
fn facts(out: &mut dyn Write, terminal: Terminal, facts: &[(&str, String)]) -> io::Result<()> {
    const INDENT: usize = 11;
    for (name, said) in facts {
        let mut name = *name;
        for line in wrap(said, terminal.width.saturating_sub(INDENT)) {
            writeln!(out, "{}{line}", terminal.paint(Colour::Dim, &format!("{name:<INDENT$}")))?;
            name = "";
        }
    }
    Ok(())
}

/// To three digits: the sizes of the replay are shares of the budget, and no more of them is meant.
fn round_size(bytes: u64) -> String {
    let mut leading = bytes;
    while leading >= 1024 {
        leading /= 1024;
    }
    let decimals = match leading {
        0..10 => 2,
        10..100 => 1,
        _ => 0,
    };
    humansize::format_size(bytes, humansize::BINARY.decimal_places(decimals))
}

fn requests(HitRate { hits, misses }: HitRate) -> u64 {
    hits.saturating_add(misses)
}

fn percent(rate: HitRate) -> String {
    rate.percent().map_or_else(String::new, |percent| format!("{percent}%"))
}

/// Nothing catches no eye.
fn number(count: u64, text: String) -> Cell {
    Cell::painted(if count == 0 { Colour::Dim } else { Colour::Plain }, text)
}

fn days(days: &[Day], terminal: Terminal) -> Table<7> {
    let [hit, miss] = if terminal.utf8 { ["█", "░"] } else { ["#", "."] };
    let heading = format!("hits {hit} misses {miss}");
    let mut table = Table::new([
        ("day", Align::Left),
        ("hits", Align::Right),
        ("misses", Align::Right),
        ("hit rate", Align::Right),
        ("evicted", Align::Right),
        ("size", Align::Right),
        (&heading, Align::Left),
    ]);
    for Day { date, requests, evictions } in days {
        table.row([
            date.to_string().into(),
            number(requests.hits, requests.hits.to_string()),
            number(requests.misses, requests.misses.to_string()),
            percent(*requests).into(),
            number(evictions.count, evictions.count.to_string()),
            number(evictions.count, human_size(evictions.bytes)),
            Cell::default(),
        ]);
    }
    let most = days.iter().map(|day| requests(day.requests)).max().unwrap_or(0);
    table.fill_last(terminal.width, days, |day, room| {
        let (hits, misses) = split(day.requests, most, room);
        (hit.repeat(hits) + &miss.repeat(misses)).into()
    });
    table
}

/// How many of `room` cells the hits take, and how many the misses. What is not 0 takes one at least, where there are two.
fn split(rate: HitRate, most: u64, room: usize) -> (usize, usize) {
    let cells = |count| bar(count, most, room, false).len();
    let least = usize::from(rate.hits > 0) + usize::from(rate.misses > 0);
    let all = cells(requests(rate)).max(least).min(room);
    let hits = cells(rate.hits).min(all.saturating_sub(usize::from(rate.misses > 0)));
    (hits, all - hits)
}

/// The shorter the time after which entries go, and the longer the time after which others are hit, the more the two
/// overlap, and the more hits the budget costs.
fn ages(history: &History) -> Table<4> {
    let mut table = Table::new([
        ("unused for", Align::Left),
        ("least", Align::Right),
        ("median", Align::Right),
        ("90% within", Align::Right),
    ]);
    let span = |seconds| human_span(Duration::from_secs(seconds)).into();
    if let Some(age) = history.evictions.age {
        table.row(["when evicted".into(), span(age.least), span(age.median), Cell::default()]);
    }
    if let Some(age) = history.hit_age {
        table.row(["when hit".into(), Cell::default(), span(age.median), span(age.p90)]);
    }
    table
}

fn evicted(evictions: &Evictions, logged: HitRate) -> String {
    let Evictions { count, regretted, regretted_bytes, median_delay, .. } = *evictions;
    if count == 0 {
        return "nothing".into();
    }
    let mut said = count_entries(count);
    if regretted == 0 {
        said += ", none of them wanted again";
    } else {
        let share = HitShare { hits: regretted, requests: count }.percent();
        said += &format!(", {regretted} ({share}%) of them wanted again");
        if let Some(delay) = median_delay {
            said += &format!(", half of these within {}", human_span(Duration::from_secs(delay)));
        }
        said += &format!(": {} transcoded twice", human_size(regretted_bytes));
    }
    if logged.misses == 0 {
        said += "; no misses are logged, so only entries that are there again count";
    }
    said
}

/// The hits by size; the row of the present size is marked.
fn curve(what_if: &[WhatIf], is_budget: bool, terminal: Terminal) -> Table<5> {
    /// Beside the first and every third size: a doubling.
    const SHARES: [&str; 6] = ["1/8", "1/4", "1/2", "", "2 x", "4 x"];
    let mut table = Table::new([
        ("", Align::Right),
        ("cache size", Align::Right),
        ("hit rate", Align::Right),
        ("change", Align::Right),
        ("hits of the same plays", Align::Left),
    ]);
    let now = what_if.get(PRESENT).map_or(0, |present| present.requests.hits);
    let colour = |place| if place == PRESENT { Colour::Bold } else { Colour::Plain };
    for (place, WhatIf { max_size, requests: rate }) in what_if.iter().enumerate() {
        let label = match place {
            PRESENT if is_budget => "budget >",
            PRESENT => "now >",
            _ if place.is_multiple_of(3) => SHARES[place / 3],
            _ => "",
        };
        let change = HitShare { hits: rate.hits.abs_diff(now), requests: requests(*rate) };
        let change = match change.percent() {
            0 => String::new(),
            percent if rate.hits > now => format!("+{percent}%"),
            percent => format!("-{percent}%"),
        };
        let cell = |text: String| Cell::painted(colour(place), text);
        table.row([
            cell(label.into()),
            cell(round_size(*max_size)),
            cell(percent(*rate)),
            cell(change),
            Cell::default(),
        ]);
    }
    let most = what_if.iter().map(|what_if| what_if.requests.hits).max().unwrap_or(0);
    let places: Vec<_> = what_if.iter().enumerate().collect();
    table.fill_last(terminal.width, &places, |(place, what_if), room| {
        Cell::painted(colour(*place), bar(what_if.requests.hits, most, room, terminal.utf8))
    });
    table
}

/// The replay starts with an empty cache, so how far it is from what was logged tells what it is worth.
fn logged(history: &History, is_budget: bool) -> String {
    let rate = history.logged;
    let logged = format!("{} hits ({} of {} plays)", percent(rate), rate.hits, requests(rate));
    let replayed =
        history.what_if.get(PRESENT).map_or_else(String::new, |what_if| percent(what_if.requests));
    let size = if is_budget { "the budget" } else { "the present size" };
    format!("{logged}; the replay, which starts empty, has {replayed} at {size}")
}

/// The advice in one sentence, or why there is none.
pub fn advice(advice: Advice) -> String {
    match advice {
        Advice::Larger { max_size, gained, beyond } => {
            let gain = format!(
                "at {}, {}% more of the plays would have been hits",
                round_size(max_size),
                gained.percent()
            );
            match beyond {
                Some(beyond) if beyond == max_size => gain + "; beyond that, nothing more",
                Some(beyond) => format!("{gain}; beyond {}, nothing more", round_size(beyond)),
                None => gain,
            }
        }
        Advice::Smaller { max_size } => {
            format!("at {}, as many of the plays would have been hits", round_size(max_size))
        }
        Advice::Enough { up_to, nothing_helps: true } => {
            format!(
                "no size up to {} would have helped: hardly a film was played twice",
                round_size(up_to)
            )
        }
        Advice::Enough { up_to, nothing_helps: false } => {
            format!(
                "keep this size: up to {}, no more of the plays would have been hits",
                round_size(up_to)
            )
        }
        Advice::Unknown(reason) => format!("none: {}", why_unknown(reason)),
    }
}

fn why_unknown(reason: Unknown) -> String {
    match reason {
        Unknown::NoRequests => "no hits or misses are logged".into(),
        Unknown::NoMisses => "no misses are logged, so what was missed is not known".into(),
        Unknown::TooFewRequests { requests } => {
            let plays = if requests == 1 { "play" } else { "plays" };
            format!("the log has {requests} {plays}, and {MIN_REQUESTS} are needed")
        }
        Unknown::NoBudget => "no budget is known; add --max-size SIZE".into(),
        Unknown::GuessedSizes { keys } => {
            format!(
                "most plays are of entries whose size is not known ({} in all)",
                count_entries(keys)
            )
        }
        Unknown::NeverFull { distinct, budget } => format!(
            "all plays in the log fit {}, so the replay never fills {}",
            round_size(distinct),
            round_size(budget)
        ),
        Unknown::Differs { logged, replayed } => format!(
            "the log has {} hits and its replay {}, so the cache had another size or was not empty at first",
            percent(logged),
            percent(replayed)
        ),
        Unknown::ShortLog { distinct } => format!(
            "only a size over {}, which holds all plays in the log, would have gained hits",
            round_size(distinct)
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_of_hits_and_misses_shows_both_and_fits() {
        let rate = |hits, misses| HitRate { hits, misses };
        for (rate, most, room, expected) in [
            (rate(0, 0), 100, 10, (0, 0)),
            (rate(100, 0), 100, 10, (10, 0)),
            (rate(0, 100), 100, 10, (0, 10)),
            (rate(50, 50), 100, 10, (5, 5)),
            (rate(99, 1), 100, 10, (9, 1)),
            (rate(1, 99), 100, 10, (1, 9)),
            (rate(1, 1), 1000, 10, (1, 1)),
            (rate(1, 1), 1000, 1, (0, 1)),
            (rate(1, 1), 2, 0, (0, 0)),
            (rate(u64::MAX, u64::MAX), u64::MAX, 10, (9, 1)),
        ] {
            assert_eq!(split(rate, most, room), expected, "{rate:?} of {most} in {room}");
        }
    }

    #[test]
    fn every_advice_is_one_sentence() {
        let gained = HitShare { hits: 6, requests: 100 };
        let (hits, misses) = (60, 40);
        let all = [
            Advice::Larger { max_size: 300 << 30, gained, beyond: Some(450 << 30) },
            Advice::Larger { max_size: 300 << 30, gained, beyond: Some(300 << 30) },
            Advice::Larger { max_size: 300 << 30, gained, beyond: None },
            Advice::Smaller { max_size: 100 << 30 },
            Advice::Enough { up_to: 1 << 40, nothing_helps: false },
            Advice::Enough { up_to: 1 << 40, nothing_helps: true },
            Advice::Unknown(Unknown::NoRequests),
            Advice::Unknown(Unknown::NoMisses),
            Advice::Unknown(Unknown::TooFewRequests { requests: 1 }),
            Advice::Unknown(Unknown::NoBudget),
            Advice::Unknown(Unknown::GuessedSizes { keys: 7 }),
            Advice::Unknown(Unknown::NeverFull { distinct: 1 << 30, budget: 2 << 30 }),
            Advice::Unknown(Unknown::Differs {
                logged: HitRate { hits, misses },
                replayed: HitRate { hits: misses, misses: hits },
            }),
            Advice::Unknown(Unknown::ShortLog { distinct: 1 << 30 }),
        ];
        assert_eq!(
            advice(all[0]),
            "at 300 GiB, 6% more of the plays would have been hits; beyond 450 GiB, nothing more"
        );
        assert_eq!(advice(all[8]), "none: the log has 1 play, and 200 are needed");
        for each in all {
            let said = advice(each);
            assert!(!said.contains(". ") && !said.ends_with('.') && said.len() < 120, "{said}");
            assert_eq!(said.starts_with("none: "), each.code() == "unknown", "{said}");
        }
    }
}
