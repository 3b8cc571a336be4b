//! Parses single values. Errors are collected, so that all of them are reported at once.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

/// All errors in a configuration.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ConfigErrors {
    errors: Vec<ConfigError>,
    /// The settings that come from a file, with their location and key.
    origins: Vec<(&'static str, String)>,
}

/// An error: the name of an option; the given value, unless the value is secret or absent; and a
/// description of valid values.
#[derive(Debug, PartialEq, Eq)]
struct ConfigError {
    name: Cow<'static, str>,
    given: Option<String>,
    right: String,
}

impl ConfigErrors {
    /// Records that `given` is not a valid value of `name`.
    pub(super) fn add(&mut self, name: &'static str, given: &str, right: impl Into<String>) {
        let name = self.shown(name);
        self.errors.push(ConfigError { name, given: Some(given.to_owned()), right: right.into() });
    }

    /// Records an error for `name`. The error does not contain the given value, because the value
    /// is secret or absent.
    pub(super) fn add_unquoted(&mut self, name: &'static str, right: impl Into<String>) {
        let name = self.shown(name);
        self.errors.push(ConfigError { name, given: None, right: right.into() });
    }

    /// Records that the setting `name` comes from a file. An error about it then contains `origin`,
    /// the location in the file, instead of the variable.
    pub(super) fn comes_from(&mut self, name: &'static str, origin: String) {
        self.origins.push((name, origin));
    }

    fn shown(&self, name: &'static str) -> Cow<'static, str> {
        let origin = self.origins.iter().find(|(setting, _)| *setting == name);
        origin.map_or(Cow::Borrowed(name), |(_, origin)| Cow::Owned(origin.clone()))
    }

    /// Records an error at a location in a file.
    pub(super) fn add_at(&mut self, location: String, right: impl Into<String>) {
        self.errors.push(ConfigError { name: location.into(), given: None, right: right.into() });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.errors.is_empty()
    }

    pub(super) fn count(&self) -> usize {
        self.errors.len()
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.errors.len();
        write!(f, "the configuration has {count} mistake{}:", if count == 1 { "" } else { "s" })?;
        for ConfigError { name, given, right } in &self.errors {
            match given {
                Some(given) => write!(f, "\n  {name}={given}: {right}")?,
                None => write!(f, "\n  {name}: {right}")?,
            }
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// Returns the trimmed value; an empty value counts as unset.
pub(super) fn given(value: Option<&String>) -> Option<&str> {
    value.map(|value| value.trim()).filter(|value| !value.is_empty())
}

/// A range of durations, and the reason for its limits.
pub(super) struct DurationRange {
    pub(super) least: Duration,
    pub(super) most: Duration,
    /// Appended to the error when a duration is out of range.
    pub(super) because: &'static str,
}

impl ConfigErrors {
    /// Returns the duration, which must be within the range, or the default if the value is unset.
    pub(super) fn duration(
        &mut self,
        name: &'static str,
        value: Option<&String>,
        default: Duration,
        range: &DurationRange,
    ) -> Duration {
        let Some(text) = given(value) else { return default };
        match humantime::parse_duration(text) {
            Ok(duration) if (range.least..=range.most).contains(&duration) => duration,
            Ok(_) => {
                let (least, most) = (
                    humantime::format_duration(range.least),
                    humantime::format_duration(range.most),
                );
                self.add(
                    name,
                    text,
                    format!("a duration from {least} to {most}; {}", range.because),
                );
                default
            }
            Err(_) => {
                self.add(
                    name,
                    text,
                    format!("a duration, such as {}", humantime::format_duration(default)),
                );
                default
            }
        }
    }

    /// Returns the whole number, which must be within the range, or `None` if the value is unset or
    /// invalid.
    pub(super) fn whole(
        &mut self,
        name: &'static str,
        value: Option<&String>,
        range: std::ops::RangeInclusive<u64>,
        because: &str,
    ) -> Option<u64> {
        let text = given(value)?;
        match text.parse() {
            Ok(number) if range.contains(&number) => Some(number),
            _ => {
                self.add(
                    name,
                    text,
                    format!("a whole number from {} to {}; {because}", range.start(), range.end()),
                );
                None
            }
        }
    }

    /// Returns one of several choices, or the default if the value is unset.
    pub(super) fn choice<T: Copy>(
        &mut self,
        name: &'static str,
        value: Option<&String>,
        default: T,
        choices: &[(&str, T)],
    ) -> T {
        let Some(text) = given(value) else { return default };
        if let Some((_, choice)) = choices.iter().find(|(word, _)| *word == text) {
            return *choice;
        }
        let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
        self.add(name, text, words.join(" or "));
        default
    }
}
