//! Doubts: reasons why it may be wrong to delete the rows of a table when the time in a column has
//! passed. Each doubt lowers the confidence by one step.

use chrono::DateTime;

use super::catalog::{Catalog, Named, Reference};
use super::names::{self, Refers, words};
use super::nouns::{self, Rows};
use super::reading::{Reading, is_integer};
use super::table::{Column, Facts, Kind, Table};
use super::toml_string::quoted;
use super::values::{Known, Times, UNITS};
use reaper::Unit;

/// The number of rows from which it is significant that no expiry time is in the future.
const ENOUGH_ROWS: f64 = 20.0;

/// The maximum expected clock difference between an application and the database, in seconds.
const CLOCKS: f64 = 60.0;

/// The maximum offset of a time zone from UTC, in seconds. A time without a zone may be the local
/// time in any time zone.
const ZONES: f64 = 14.0 * 3600.0;

/// Returns doubts about the name of a table.
pub(super) fn of_name(table: &Table) -> Vec<String> {
    let words_of_table = words(table.name.name.as_str());
    match nouns::rows(&words_of_table) {
        (Rows::Fleeting, Some(noun)) => {
            nouns::doubts(&words_of_table, noun, &words(table.schema()))
        }
        _ => Vec::new(),
    }
}

/// Returns doubts that arise because deleting a row of the table may affect other rows.
pub(super) fn of_rows(table: &Table, catalog: &Catalog) -> Vec<String> {
    let referred = (!catalog.references(table).is_empty())
        .then(|| "other rows reference these rows (see above)".to_owned());
    let named = named(table, catalog).next().map(of_named);
    referred.into_iter().chain(named).chain(of_deleting(table)).collect()
}

/// Returns doubts about triggers, rules and inheritance.
pub(super) fn of_deleting(table: &Table) -> impl Iterator<Item = String> {
    let acts =
        table.acts_on_delete.then(|| "a trigger or a rule runs when a row is deleted".to_owned());
    let inherited = (table.kind == Kind::Parent)
        .then(|| "other tables inherit from it, and their rows are deleted too".to_owned());
    acts.into_iter().chain(inherited)
}

/// Returns the doubt about a column that is named after the rows of the table but has no foreign
/// key.
pub(super) fn of_named(named: &Named) -> String {
    let (column, of) = (names::ident(&named.column), names::table(&named.table));
    format!("{column} of {of} seems to reference these rows without a foreign key")
}

/// Returns the number of units per second. If `unit` is `None`, returns 1, because the column is
/// not an integer and its values are read in seconds.
pub(super) fn per_second(unit: Option<Unit>) -> f64 {
    UNITS.iter().find(|(_, of, _)| Some(*of) == unit).map_or(1.0, |(.., per_second)| *per_second)
}

/// Returns columns of other tables that are named after the rows of `table`, such as `session_id`,
/// and have no foreign key.
pub(super) fn named<'a>(table: &'a Table, catalog: &'a Catalog) -> impl Iterator<Item = &'a Named> {
    let own = words(table.name.name.as_str());
    let schema = |named: &Named| named.table.schema.clone();
    let in_schema = move |named: &Named, name: &dyn Fn(&Table) -> bool| {
        catalog.tables.iter().any(|other| {
            other.name.schema == schema(named) && other.oid != table.oid && name(other)
        })
    };
    let key_type = match table.key.as_slice() {
        [key] => table
            .columns
            .iter()
            .find(|column| names::ident(&column.name) == *key)
            .map(|column| column.sql_type.as_str()),
        _ => None,
    };
    catalog.named().iter().filter(move |named| {
        let Some((refers, last_word)) = names::refers(named.column.as_str(), &own) else {
            return false;
        };
        let of_a_key = matches!(named.sql_type.as_str(), "uuid" | "integer" | "bigint");
        named.oid != table.oid
            // A column `token` is more often a token than a reference to one.
            && (refers == Refers::ById || (of_a_key && key_type == Some(named.sql_type.as_str())))
            // If each tenant has a schema with the same tables, references stay within a schema.
            && (named.table.schema == table.name.schema
                || !in_schema(named, &|other| other.name.name == table.name.name))
            // If a table `sessions` exists, `session_id` references `sessions` and not
            // `user_sessions`.
            && !(last_word && in_schema(named, &|other| {
                let other = words(other.name.name.as_str());
                matches!(names::refers(named.column.as_str(), &other), Some((_, false)))
            }))
    })
}

/// What follows from the values of a column.
#[derive(Default)]
pub(super) struct OfValues {
    pub(super) doubts: Vec<String>,
    pub(super) notes: Vec<String>,
    /// Whether some values are before 2000, or the column is an integer, in which 0 often means
    /// "never".
    pub(super) ancient: bool,
}

/// Evaluates the known values of a column. `units` contains the possible units of an integer
/// column.
pub(super) fn of_values(
    column: &Column,
    reading: &Reading,
    facts: &Facts,
    units: &[&str],
) -> OfValues {
    let integer = is_integer(column);
    let mut of_values = OfValues { ancient: integer, ..OfValues::default() };
    let doubts = &mut of_values.doubts;
    let values = match &facts.values {
        Known::Values(values) => values,
        Known::Nothing | Known::Empty if integer => {
            doubts.push(
                "its values are not known and may not be times (a lifetime, or 0 for never): run ANALYZE as the \
                 owner when the table has rows, then run discover again"
                    .to_owned(),
            );
            return of_values;
        }
        Known::Nothing | Known::Empty => {
            if reading.weak {
                doubts.push(
                    "its values are not known, and a column with this name may store the last use: run ANALYZE as the \
                     owner when the table has rows, then run discover again"
                        .to_owned(),
                );
            }
            return of_values;
        }
    };
    let per_second = match (integer, units) {
        (false, _) => 1.0,
        (true, [unit]) => {
            UNITS.iter().find(|(name, ..)| name == unit).map_or(1.0, |(.., per)| *per)
        }
        (true, _) => {
            let median =
                values.median().map_or_else(|| "0".to_owned(), |median| format!("{median:.0}"));
            doubts.push(format!(
                "its values (median {median}) are not times between 2000 and 2100; they may be lifetimes"
            ));
            return of_values;
        }
    };
    let margin = if column.sql_type == "timestamp without time zone" && reading.weak {
        CLOCKS + ZONES
    } else {
        CLOCKS
    };
    let times = values.times(per_second, margin);
    if reading.is_expiry() {
        doubts.extend(of_expiry(reading, times));
    }
    if times.small && integer {
        doubts.push("some of its values are too small to be times and may be lifetimes".to_owned());
    }
    if let Some(ancient) = times.ancient {
        of_values.ancient = true;
        of_values.notes.push(format!(
            "some of its values, such as {}, may mean \"never\": these rows are kept",
            date(ancient)
        ));
    }
    of_values
}

fn of_expiry(reading: &Reading, times: Times) -> Option<String> {
    if times.rows <= 0.0 {
        return Some("none of its values is a time after the year 2000".to_owned());
    }
    let enough = times.rows >= ENOUGH_ROWS || reading.weak;
    (enough && times.ahead <= 0.0).then(|| {
        "none of its values was in the future when it was read: the column may store the last use"
            .to_owned()
    })
}

fn date(time: f64) -> String {
    #[allow(clippy::cast_possible_truncation, reason = "whole seconds are enough for a date")]
    let day = DateTime::from_timestamp(time as i64, 0).filter(|_| time.is_finite());
    day.map_or_else(|| "-infinity".to_owned(), |time| time.date_naive().to_string())
}

/// Returns notes on the foreign keys that reference a table.
pub(super) fn references(table: &Table, catalog: &Catalog) -> Vec<String> {
    let mut notes: Vec<String> = catalog.references(table).iter().map(note).collect();
    notes.dedup();
    notes
}

fn note(reference: &Reference) -> String {
    let from = names::table(&reference.from);
    let rows =
        if reference.to_itself { "its own rows".to_owned() } else { format!("rows of {from}") };
    let children = reference.column.as_ref().filter(|_| !reference.to_itself).map(|column| {
        let (table, column) = (quoted(&from), quoted(&names::ident(column)));
        format!("; delete them in separate chunks by children = [{{ table = {table}, column = {column} }}]")
    });
    let children = children.unwrap_or_default();
    match reference.on_delete.as_str() {
        "c" => format!(
            "{rows} refer to it by ON DELETE CASCADE and are deleted with its rows, due or not{children}"
        ),
        "n" | "d" => {
            format!(
                "{rows} refer to it and are changed when its rows are deleted (ON DELETE SET NULL or DEFAULT)"
            )
        }
        _ => format!(
            "{rows} refer to it, and a row that is referenced cannot be deleted; exclude it in `where`, or delete the referencing rows first{children}"
        ),
    }
}
