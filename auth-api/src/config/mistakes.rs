//! Everything that is wrong, told at once.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

/// Everything that is wrong with a configuration.
#[derive(Debug, thiserror::Error)]
#[error("the configuration has {} mistake{}:\n  {}", .0.len(), if .0.len() == 1 { "" } else { "s" }, .0.join("\n  "))]
pub struct ConfigError(pub Vec<String>);

/// Collects mistakes instead of stopping at the first.
#[derive(Default)]
pub(super) struct Mistakes(pub(super) Vec<String>);

impl Mistakes {
    pub(super) fn none_in<T>(self, checked: Option<T>) -> Result<T, ConfigError> {
        match checked {
            Some(checked) if self.0.is_empty() => Ok(checked),
            _ => Err(ConfigError(self.0)),
        }
    }

    pub(super) fn note(&mut self, name: &str, what: impl fmt::Display) {
        self.0.push(format!("{name}: {what}"));
    }

    pub(super) fn parse<T, E: fmt::Display>(
        &mut self,
        name: &str,
        value: Option<&str>,
        default: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let value = value.unwrap_or(default);
        match parse(value) {
            Ok(parsed) => Some(parsed),
            Err(error) => {
                self.note(name, format_args!("{error} (it is {value:?})"));
                None
            }
        }
    }

    /// What was written, or the default where that is a mistake: so that contradictions are found all the same.
    pub(super) fn duration(&mut self, name: &str, value: Option<&String>, default: Duration) -> Duration {
        let Some(value) = value else { return default };
        self.parse(name, Some(value), "", |text| {
            humantime::parse_duration(text).map_err(|_| "not a duration such as 30s, 15m or 30d")
        })
        .unwrap_or(default)
    }

    /// A duration that makes no sense at zero, nor beyond `longest`.
    pub(super) fn span(
        &mut self,
        name: &str,
        value: Option<&String>,
        default: Duration,
        longest: Duration,
    ) -> Duration {
        let span = self.duration(name, value, default);
        if span.is_zero() {
            self.note(name, "must be longer than nothing");
        }
        if span > longest {
            self.note(name, format_args!("at most {}", humantime::format_duration(longest)));
        }
        span
    }

    /// The same for what stands in tokens and messages, which count whole seconds.
    pub(super) fn seconds(
        &mut self,
        name: &str,
        value: Option<&String>,
        default: Duration,
        longest: Duration,
    ) -> Duration {
        let span = self.span(name, value, default, longest);
        if span.subsec_nanos() != 0 {
            self.note(name, "must be whole seconds");
        }
        span
    }

    pub(super) fn required<'v>(&mut self, name: &str, value: Option<&'v String>, what: &str) -> Option<&'v String> {
        let value = value.filter(|value| !value.is_empty());
        if value.is_none() {
            self.note(name, format_args!("missing: {what}"));
        }
        value
    }

    /// A secret from its variable or from the file that `NAME_FILE` names.
    pub(super) fn secret(
        &mut self,
        name: &str,
        value: Option<&String>,
        file: Option<&PathBuf>,
        what: &str,
    ) -> Option<SecretString> {
        match (value, file) {
            (Some(_), Some(_)) => {
                self.note(name, format_args!("given twice, also as {name}_FILE: leave one out"));
                None
            }
            (None, Some(path)) => match std::fs::read_to_string(path) {
                Ok(text) if !text.trim().is_empty() => Some(text.trim().into()),
                Ok(_) => {
                    self.note(&format!("{name}_FILE"), format_args!("{} is empty", path.display()));
                    None
                }
                Err(error) => {
                    self.note(&format!("{name}_FILE"), format_args!("{}: {error}", path.display()));
                    None
                }
            },
            (value, None) => self.required(name, value, what).map(|value| value.trim().into()),
        }
    }
}
