//! Interprets the name and the type of a column.

use super::names::{is_noun, run_together, words};
use super::nouns::{self, Rows};
use super::signs::{COLUMNS, CONSEQUENCES, ColumnSign, Consequence, Meaning, NOISE, Sureness};
use super::table::{Column, Table};
use reaper::Unit;

/// The interpretation of a column name.
pub(super) struct Reading {
    pub(super) consequence: &'static Consequence,
    pub(super) sureness: Sureness,
    /// Whether the time applies to the whole row, and not only to a part of it (as
    /// `reset_token_expires_at` does).
    pub(super) of_row: bool,
    /// `true` if the name alone is not sufficient. The values must then confirm the meaning.
    pub(super) weak: bool,
    pub(super) unit: Option<Unit>,
}

impl Reading {
    pub(super) fn is_expiry(&self) -> bool {
        self.consequence.meaning == Meaning::Expiry
    }
}

/// Returns whether all columns of a table should be read.
pub(super) fn is_candidate(table: &Table) -> bool {
    is_fleeting(table) || table.columns.iter().any(|column| may_matter(table, column))
}

/// Returns whether a table's name suggests sessions, tokens, codes or similar rows.
pub(super) fn is_fleeting(table: &Table) -> bool {
    nouns::rows(&words(table.name.name.as_str())).0 == Rows::Fleeting
}

/// Returns whether a column should be examined.
pub(super) fn may_matter(table: &Table, column: &Column) -> bool {
    read(table, column).is_some() || table.group() == Some(&column.name)
}

pub(super) fn is_integer(column: &Column) -> bool {
    matches!(column.sql_type.as_str(), "integer" | "bigint")
}

fn is_time(column: &Column) -> bool {
    matches!(
        column.sql_type.as_str(),
        "timestamp with time zone" | "timestamp without time zone" | "date"
    )
}

/// Returns whether a column of this type is supported in `due`.
pub(super) fn is_usable(column: &Column) -> bool {
    is_integer(column) || is_time(column)
}

/// Returns the sign of a column, which is the part of its name that shows its meaning. Also returns
/// whether the sign is the whole name, the words before the sign, and the unit in the name.
pub(super) fn sign(
    column: &Column,
) -> Option<(&'static ColumnSign, bool, Vec<String>, Option<Unit>)> {
    let mut name = words(column.name.as_str());
    let mut unit = None;
    while let Some((_, counts)) =
        NOISE.iter().find(|(noise, _)| name.len() > 1 && name.last().is_some_and(|l| l == noise))
    {
        unit = unit.or(*counts);
        name.pop();
    }
    let signs = || COLUMNS.iter().filter(|sign| sign.integers || !is_integer(column));
    let whole = run_together(&name.concat());
    let exact = signs().find(|sign| sign.words.concat() == whole);
    let ends =
        |words: &[&str]| name.len() > words.len() && name[name.len() - words.len()..] == *words;
    let sign = exact
        .or_else(|| signs().filter(|sign| ends(sign.words)).max_by_key(|sign| sign.words.len()))?;
    name.truncate(name.len().saturating_sub(sign.words.len()));
    Some((sign, exact.is_some(), name, unit))
}

pub(super) fn read(table: &Table, column: &Column) -> Option<Reading> {
    if !is_usable(column) {
        return None;
    }
    let (sign, exact, before, unit) = sign(column)?;
    let table_words = words(table.name.name.as_str());
    // In `login_tokens`, `token_expires_at` describes the row, and `login_expires_at` does not.
    let own = |word: &String| {
        table_words.last().is_some_and(|last| is_noun(last, word) || last.ends_with(word.as_str()))
    };
    let of_row = exact || before.iter().all(own);
    let (rows, _) = nouns::rows(&table_words);
    let consequence =
        CONSEQUENCES.iter().find(|consequence| consequence.meaning == sign.meaning)?;
    let [fleeting, plain, lasting] = if of_row { consequence.of_row } else { consequence.of_part };
    let sureness = match rows {
        Rows::Fleeting => fleeting,
        Rows::Plain => plain,
        Rows::Lasting => lasting,
    }?;
    Some(Reading { consequence, sureness, of_row, weak: sign.weak, unit })
}

/// Returns the columns that could be used in `due` if the types of the columns were supported.
pub(super) fn of_other_types(table: &Table) -> impl Iterator<Item = &Column> {
    let other = |column: &Column| !is_usable(column) && column.sql_type != "boolean";
    table.columns.iter().filter(move |column| other(column) && sign(column).is_some())
}
