//! Going through the columns of a table by the signs: what each tells, how sure that is, and what speaks against it.

use chrono::DateTime;

use super::catalog::{Catalog, Column, Reference, Table};
use super::findings::{FoundColumn, FoundTarget, Group, missing_index};
use super::names::{is_noun, run_together, words};
use super::proposal::quoted;
use super::signs::{
    ASKED_FOR, BESIDE, COLUMNS, CONSEQUENCES, Consequence, LONG_NOUN, Meaning, NOISE, Place, Rows, Sureness, TABLES,
};
use crate::sweep::Unit;

/// What no session, token or code is older than, in seconds: 2000. Before it are the zeros of many a language.
const OLDEST: f64 = 946_684_800.0;

/// 2100. What is later in one unit is early in the next.
const LATEST: f64 = 4_102_444_800.0;

const UNITS: [(&str, Unit, f64); 3] =
    [("s", Unit::Seconds, 1.0), ("ms", Unit::Milliseconds, 1e3), ("us", Unit::Microseconds, 1e6)];

/// What the name of a column tells.
struct Reading {
    consequence: &'static Consequence,
    sureness: Sureness,
    /// It tells it of the row, not of something in it.
    of_row: bool,
    unit: Option<Unit>,
    /// The noun in the table's name that counted.
    noun: Option<&'static str>,
    rows: Rows,
}

/// Whether a column is worth being looked up.
pub(super) fn may_matter(table: &Table, column: &Column) -> bool {
    read(table, column).is_some() || table.group() == Some(&column.name)
}

/// The target that a table may be, if any of its columns tells something.
pub(super) fn target(table: &Table, catalog: &Catalog) -> Option<FoundTarget> {
    let mut readings: Vec<(&Column, Reading)> =
        table.columns.iter().filter_map(|column| Some((column, read(table, column)?))).collect();
    // That a row is old says little beside anything else.
    if readings.iter().any(|(_, reading)| reading.consequence.meaning != Meaning::Creation) {
        readings.retain(|(_, reading)| reading.consequence.meaning != Meaning::Creation);
    }
    let expiries: Vec<&Column> = readings.iter().filter(|(_, r)| is_expiry(r)).map(|(column, _)| *column).collect();
    let mut filter = None;
    let mut columns: Vec<FoundColumn> = readings
        .iter()
        .map(|(column, reading)| {
            let mut found = found(table, catalog, column, reading);
            let doubts = doubts(table, catalog, column, reading, &expiries);
            for doubt in doubts {
                found.sureness = found.sureness.lowered();
                found.why.push(format!("but {doubt}"));
            }
            found
        })
        .collect();
    columns.sort_by_key(|column| std::cmp::Reverse(column.sureness));
    let best = columns.first()?.sureness;
    for column in &mut columns {
        column.chosen = column.sureness == best;
        if let (true, [unit]) = (column.chosen, column.unit.as_slice()) {
            filter = UNITS
                .iter()
                .find(|(name, ..)| name == unit)
                .map(|(_, _, per_second)| format!("t.{} > {:.0}", column.column, OLDEST * per_second));
        }
    }
    name_apart(&mut columns);
    let group = table
        .group()
        .filter(|_| best > Sureness::Low)
        .map(|column| Group { column: column.spelt(), missing_index: missing_index(catalog, table, column, false) });
    let live = best == Sureness::High;
    let (_, first) = readings.first()?;
    let mut notes: Vec<String> = vec![match (first.rows, first.noun) {
        (Rows::Fleeting, Some(noun)) => format!("its name speaks of {noun:?}: such rows are meant to go"),
        (Rows::Lasting, Some(noun)) => format!("its name speaks of {noun:?}: such rows are often meant to stay"),
        _ => "its name does not tell whether its rows are meant to go".to_owned(),
    }];
    notes.extend(references(table, catalog));
    if table.partitioned {
        notes.push("it is partitioned: where whole partitions are due, dropping them is cheaper".to_owned());
    }
    Some(FoundTarget { table: table.name.spelt(), rows: table.rows, live, columns, group, filter, notes })
}

/// A target has each name of a reason once.
fn name_apart(columns: &mut [FoundColumn]) {
    let names: Vec<String> = columns.iter().map(|column| column.reason.clone()).collect();
    for (index, column) in columns.iter_mut().enumerate() {
        let before = names[..index].iter().filter(|name| **name == column.reason).count();
        if before > 0 {
            column.reason = format!("{}_{}", column.reason, before + 1);
        }
    }
}

fn is_expiry(reading: &Reading) -> bool {
    reading.consequence.meaning == Meaning::Expiry && reading.of_row
}

fn is_integer(column: &Column) -> bool {
    matches!(column.sql_type.as_str(), "integer" | "bigint")
}

fn read(table: &Table, column: &Column) -> Option<Reading> {
    let integer = is_integer(column);
    if !integer
        && !matches!(column.sql_type.as_str(), "timestamp with time zone" | "timestamp without time zone" | "date")
    {
        return None;
    }
    let mut name = words(column.name.as_str());
    let mut unit = None;
    while let Some((_, counts)) =
        NOISE.iter().find(|(noise, _)| name.len() > 1 && name.last().is_some_and(|l| l == noise))
    {
        unit = unit.or(*counts);
        name.pop();
    }
    let signs = || COLUMNS.iter().filter(|sign| sign.integers || !integer);
    let whole = run_together(&name.concat());
    let exact = signs().find(|sign| sign.words.concat() == whole);
    let ends = |words: &[&str]| name.len() > words.len() && name[name.len() - words.len()..] == *words;
    let sign = exact.or_else(|| signs().filter(|sign| ends(sign.words)).max_by_key(|sign| sign.words.len()))?;

    let table_words = words(table.name.name.as_str());
    // In `tokens` the `token_expires_at` is the row's own.
    let before = &name[..name.len().saturating_sub(sign.words.len())];
    let of_row = exact.is_some() || before.iter().all(|word| table_words.iter().any(|table| is_noun(table, word)));
    let (rows, noun) = rows(&table_words);
    let consequence = CONSEQUENCES.iter().find(|consequence| consequence.meaning == sign.meaning)?;
    let sureness = if of_row { consequence.of_row } else { consequence.of_part };
    let [fleeting, plain, lasting] = sureness;
    let sureness = match rows {
        Rows::Fleeting => fleeting,
        Rows::Plain => plain,
        Rows::Lasting => lasting,
    }?;
    Some(Reading { consequence, sureness, of_row, unit, noun, rows })
}

/// What a table's name tells of its rows, and the noun that does.
fn rows(table: &[String]) -> (Rows, Option<&'static str>) {
    let is = |word: &String, noun: &str| {
        let at_end = |word: &str| noun.len() >= LONG_NOUN && word.ends_with(noun);
        is_noun(word, noun) || at_end(word) || at_end(word.trim_end_matches('s'))
    };
    for (place, rows, nouns) in TABLES {
        let from = if *place == Place::Last { table.len().saturating_sub(1) } else { 0 };
        if let Some(noun) = nouns.iter().find(|noun| table[from..].iter().any(|word| is(word, noun))) {
            return (*rows, Some(noun));
        }
    }
    (Rows::Plain, None)
}

fn found(table: &Table, catalog: &Catalog, column: &Column, reading: &Reading) -> FoundColumn {
    let consequence = reading.consequence;
    let mut why = Vec::new();
    if !reading.of_row {
        why.push("but it may tell that of something in the row, and not of the row".to_owned());
    }
    let facts = catalog.facts(table, &column.name);
    let zone = (column.sql_type == "timestamp without time zone").then_some("UTC");
    if zone.is_some() {
        why.push("it has no time zone: UTC is a guess, and at most 14 hours wrong, which `keep` covers".to_owned());
    }
    if column.nullable {
        why.push("a row in which it is null stays".to_owned());
    }
    if facts.indexed {
        why.push("an index begins with it".to_owned());
    }
    let unit = if is_integer(column) { unit(column, reading.unit, facts.values) } else { Vec::new() };
    if let [unit] = unit.as_slice() {
        why.push(format!("by its values, its name or its type it counts {unit} since 1970"));
    }
    FoundColumn {
        column: column.name.spelt(),
        sql_type: column.sql_type.clone(),
        tells: consequence.tells,
        reason: consequence.reason.to_owned(),
        keep: consequence.keep,
        zone,
        unit,
        sureness: reading.sureness,
        why,
        chosen: false,
        missing_index: missing_index(catalog, table, &column.name, true),
    }
}

/// The units that an integer may count: by its values, its name, its type.
fn unit(column: &Column, named: Option<Unit>, values: Option<(f64, f64)>) -> Vec<&'static str> {
    let seen = UNITS.iter().find(|(_, _, per)| values.is_some_and(|(_, most)| within(most, *per)));
    let named = UNITS.iter().find(|(_, unit, _)| Some(*unit) == named);
    // Milliseconds have no room in 32 bits.
    let typed = UNITS.first().filter(|_| column.sql_type == "integer");
    match seen.or(named).or(typed) {
        Some((name, ..)) => vec![name],
        None => UNITS.iter().map(|(name, ..)| *name).collect(),
    }
}

fn within(value: f64, per_second: f64) -> bool {
    (OLDEST * per_second..LATEST * per_second).contains(&value)
}

/// What speaks against it.
fn doubts(table: &Table, catalog: &Catalog, column: &Column, reading: &Reading, expiries: &[&Column]) -> Vec<String> {
    let values = catalog.facts(table, &column.name).values;
    let other = expiries.iter().find(|other| is_expiry(reading) && other.name != column.name);
    let beside = table.columns.iter().find_map(|beside| {
        BESIDE.iter().find(|(name, _)| run_together(beside.name.as_str()) == *name).map(|(_, why)| (beside, why))
    });
    let asked_for = ASKED_FOR.iter().find(|(noun, _)| Some(*noun) == reading.noun);
    [
        asked_for.map(|(_, why)| (*why).to_owned()),
        other.map(|other| format!("{} tells the same", other.name.spelt())),
        beside.map(|(beside, why)| format!("there is {}, and {why}", beside.name.spelt())),
        (!catalog.references(table).is_empty()).then(|| "other rows refer to these, see above".to_owned()),
        if is_integer(column) { doubt_of_integers(values) } else { doubt_of_times(values) },
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn doubt_of_integers(values: Option<(f64, f64)>) -> Option<String> {
    let Some((least, most)) = values else {
        return Some("nothing is known of its values, which may be no times (a lifetime, or 0 for never): ANALYZE, and ask again".to_owned());
    };
    let fits = UNITS.iter().any(|(_, _, per)| within(least, *per) && within(most, *per));
    (!fits).then(|| format!("its values, from {least:.0} to {most:.0}, are not all times from 2000 to 2100: 0 may mean never, a small one a lifetime"))
}

fn doubt_of_times(values: Option<(f64, f64)>) -> Option<String> {
    let (least, _) = values.filter(|(least, _)| *least < OLDEST)?;
    #[allow(clippy::cast_possible_truncation, reason = "whole seconds are enough for a date")]
    let day = DateTime::from_timestamp(least as i64, 0).map(|time| time.date_naive().to_string());
    Some(format!(
        "its values go back to {}, and such a time may mean never",
        day.unwrap_or_else(|| "before all time".to_owned())
    ))
}

/// What the foreign keys that point at a table mean for deleting its rows.
pub(super) fn references(table: &Table, catalog: &Catalog) -> Vec<String> {
    let mut notes: Vec<String> = catalog.references(table).iter().map(note).collect();
    notes.dedup();
    notes
}

fn note(reference: &Reference) -> String {
    let from = reference.from.spelt();
    let rows = if reference.to_itself { "its own rows".to_owned() } else { format!("rows of {from}") };
    let children = reference.column.as_ref().filter(|_| !reference.to_itself).map(|column| {
        let (table, column) = (quoted(&from), quoted(&column.spelt()));
        format!(", in chunks of their own by children = [{{ table = {table}, column = {column} }}]")
    });
    let children = children.unwrap_or_default();
    match reference.on_delete.as_str() {
        "c" => format!("{rows} refer to it by ON DELETE CASCADE and go along, live or not{children}"),
        "n" | "d" => format!("{rows} refer to it, and are changed when theirs goes (ON DELETE SET NULL or DEFAULT)"),
        _ => format!(
            "{rows} refer to it, and a row that is referred to cannot be deleted; say so in `where`, or let them go{children}"
        ),
    }
}
