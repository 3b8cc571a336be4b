//! Reading one value of each kind. What is wrong is collected, so that all of it is told at once.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

/// Everything that is wrong with a configuration.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ConfigErrors(Vec<ConfigError>);

/// A name, what was given for it (not for a secret), and what would be right.
#[derive(Debug, PartialEq, Eq)]
struct ConfigError {
    name: Cow<'static, str>,
    given: Option<String>,
    right: String,
}

impl ConfigErrors {
    /// Notes that `name` cannot be `given`.
    pub(super) fn add(&mut self, name: &'static str, given: &str, right: impl Into<String>) {
        self.0.push(ConfigError {
            name: name.into(),
            given: Some(given.to_owned()),
            right: right.into(),
        });
    }

    /// Notes something about `name` whose value is a secret, or which has none.
    pub(super) fn add_unquoted(&mut self, name: &'static str, right: impl Into<String>) {
        self.0.push(ConfigError { name: name.into(), given: None, right: right.into() });
    }

    /// Notes something at a place in a file.
    pub(super) fn add_at(&mut self, location: String, right: impl Into<String>) {
        self.0.push(ConfigError { name: location.into(), given: None, right: right.into() });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn count(&self) -> usize {
        self.0.len()
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.0.len();
        write!(f, "the configuration has {count} mistake{}:", if count == 1 { "" } else { "s" })?;
        for ConfigError { name, given, right } in &self.0 {
            match given {
                Some(given) => write!(f, "\n  {name}={given}: {right}")?,
                None => write!(f, "\n  {name}: {right}")?,
            }
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// What was given, if anything was: a variable that is set to nothing is not set.
pub(super) fn given(value: Option<&String>) -> Option<&str> {
    value.map(|value| value.trim()).filter(|value| !value.is_empty())
}

/// A range of durations, and why it is that.
pub(super) struct DurationRange {
    pub(super) least: Duration,
    pub(super) most: Duration,
    /// Said when a duration is out of range.
    pub(super) because: &'static str,
}

impl ConfigErrors {
    /// A duration within a range; the default when nothing was given.
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

    /// A whole number within a range, if one was given.
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

    /// One of a few words.
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
