//! Reads a TOML file value by value, so that every error is reported with its line and column.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::values::ConfigErrors;
use reaper::{Ident, nearest};

/// A file and the errors found in it.
pub(super) struct Source<'s> {
    pub(super) name: &'s str,
    pub(super) text: &'s str,
    pub(super) config_errors: &'s mut ConfigErrors,
}

/// A value and its key.
pub(super) struct KeyValue<'v, 's> {
    pub(super) key: &'v str,
    pub(super) value: &'v Spanned<DeValue<'s>>,
}

impl<'s> Source<'s> {
    /// Parses the whole file. If the file is not valid TOML, records all syntax errors and returns
    /// `None`.
    pub(super) fn parse(&mut self) -> Option<DeTable<'s>> {
        let (table, errors) = DeTable::parse_recoverable(self.text);
        for error in &errors {
            self.wrong(error.span().map_or(0, |span| span.start), error.message());
        }
        errors.is_empty().then(|| table.into_inner())
    }

    /// Records an error at a byte offset of the text.
    pub(super) fn wrong(&mut self, at: usize, what: impl Into<String>) {
        let location = self.location(at);
        self.config_errors.add_at(location, what);
    }

    /// Returns the file, line and column of a byte offset.
    pub(super) fn location(&self, at: usize) -> String {
        let before = self.text.get(..at).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        format!("{}:{line}:{column}", self.name)
    }

    /// Records that a value is invalid.
    pub(super) fn wrong_value(&mut self, found: &KeyValue<'_, '_>, right: impl std::fmt::Display) {
        let shown = match found.value.get_ref() {
            DeValue::String(text) => format!(" = {text:?}"),
            DeValue::Integer(number) => format!(" = {number}"),
            DeValue::Boolean(truth) => format!(" = {truth}"),
            _ => String::new(),
        };
        self.wrong(found.value.span().start, format!("{}{shown}: {right}", found.key));
    }

    /// Returns the values of the known keys of a table, in the order of `known`. For each unknown
    /// key, records an error that suggests the most similar known key.
    pub(super) fn keys<'v, const N: usize>(
        &mut self,
        table: &'v DeTable<'s>,
        known: [&'static str; N],
    ) -> [Option<KeyValue<'v, 's>>; N] {
        self.check_keys(table, &known);
        known.map(|key| table.get(key).map(|value| KeyValue { key, value }))
    }

    /// Records an error for each unknown key of a table, and suggests the most similar known key.
    pub(super) fn check_keys(&mut self, table: &DeTable<'s>, known: &[&'static str]) {
        for key in table.keys().filter(|key| !known.contains(&key.get_ref().as_ref())) {
            let name = key.get_ref();
            let near = nearest(name, known.iter().map(|key| (*key, *key)))
                .map(|near| format!("; did you mean `{near}`?"))
                .unwrap_or_default();
            self.wrong(
                key.span().start,
                format!("unknown key `{name}`{near} (known: {})", known.join(", ")),
            );
        }
    }

    /// Returns a string.
    pub(super) fn text<'v>(&mut self, found: Option<KeyValue<'v, 's>>) -> Option<&'v str> {
        let found = found?;
        let text = found.value.get_ref().as_str();
        if text.is_none() {
            self.wrong_value(&found, "expected a quoted string");
        }
        text
    }

    /// Parses a string with `read`. If the string cannot be parsed, records an error that contains
    /// `right`, a description of valid values.
    pub(super) fn read<T>(
        &mut self,
        found: Option<KeyValue<'_, 's>>,
        read: impl FnOnce(&str) -> Option<T>,
        right: &str,
    ) -> Option<T> {
        let found = found?;
        let value = found.value.get_ref().as_str().and_then(read);
        if value.is_none() {
            self.wrong_value(&found, right);
        }
        value
    }

    /// Parses an array of column names. The array must not be empty, and no name may occur twice.
    /// `right` describes valid values.
    pub(super) fn names(
        &mut self,
        found: Option<KeyValue<'_, 's>>,
        right: &str,
    ) -> Option<Vec<Ident>> {
        let found = found?;
        let array = found.value.get_ref().as_array();
        let names: Option<Vec<Ident>> = array.and_then(|array| {
            array.iter().map(|value| value.get_ref().as_str().and_then(Ident::parse)).collect()
        });
        let names = names.filter(|names| {
            let once = |(n, name): (usize, &Ident)| !names[..n].contains(name);
            !names.is_empty() && names.iter().enumerate().all(once)
        });
        if names.is_none() {
            self.wrong_value(&found, right);
        }
        names
    }

    /// Returns a whole number within a range.
    pub(super) fn whole(
        &mut self,
        found: Option<KeyValue<'_, 's>>,
        range: std::ops::RangeInclusive<u32>,
    ) -> Option<u32> {
        let found = found?;
        let integer = found.value.get_ref().as_integer();
        let number =
            integer.and_then(|integer| u32::from_str_radix(integer.as_str(), integer.radix()).ok());
        let number = number.filter(|number| range.contains(number));
        if number.is_none() {
            self.wrong_value(
                &found,
                format!("expected a whole number from {} to {}", range.start(), range.end()),
            );
        }
        number
    }

    /// Returns `true` or `false`.
    pub(super) fn truth(&mut self, found: Option<KeyValue<'_, 's>>) -> Option<bool> {
        let found = found?;
        let truth = found.value.get_ref().as_bool();
        if truth.is_none() {
            self.wrong_value(&found, "expected true or false");
        }
        truth
    }

    /// Returns the tables of an array, each with its byte offset.
    pub(super) fn tables<'v>(
        &mut self,
        found: Option<KeyValue<'v, 's>>,
        right: &str,
    ) -> Option<Vec<(usize, &'v DeTable<'s>)>> {
        let found = found?;
        let Some(array) = found.value.get_ref().as_array() else {
            self.wrong_value(&found, right);
            return None;
        };
        let mut tables = Vec::new();
        for value in array {
            match value.get_ref().as_table() {
                Some(table) => tables.push((value.span().start, table)),
                None => self.wrong(value.span().start, format!("{}: {right}", found.key)),
            }
        }
        Some(tables)
    }
}
