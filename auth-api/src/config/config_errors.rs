//! Collects configuration errors, so that all of them are reported together.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::SecretString;

use crate::files;

/// All errors in a configuration.
#[derive(Debug, thiserror::Error)]
#[error("the configuration has {} error{}:\n  {}", .0.len(), if .0.len() == 1 { "" } else { "s" }, .0.join("\n  "))]
pub struct ConfigError(pub Vec<String>);

/// Reads a file of secrets and parses its content without surrounding white space. Errors contain
/// the path.
pub(crate) fn parse_file<T, E: fmt::Display>(
    path: &Path,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> Result<T, String> {
    let in_file = |error: &dyn fmt::Display| format!("{}: {error}", path.display());
    let text = files::read_secret(path).map_err(|error| in_file(&error))?;
    parse(text.trim()).map_err(|error| in_file(&error))
}

fn not_empty(text: &str) -> Result<SecretString, &'static str> {
    if text.is_empty() { Err("the file is empty") } else { Ok(text.into()) }
}

/// Collects errors instead of stopping at the first one.
#[derive(Default)]
pub(super) struct ConfigErrors(pub(super) Vec<String>);

impl ConfigErrors {
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
                self.note(name, format_args!("{error} (got {value:?})"));
                None
            }
        }
    }

    /// Parses a duration. An invalid duration is reported and replaced by the default, so that
    /// contradictions between settings are still found.
    pub(super) fn duration(
        &mut self,
        name: &str,
        value: Option<&String>,
        default: Duration,
    ) -> Duration {
        let Some(value) = value else { return default };
        self.parse(name, Some(value), "", |text| {
            humantime::parse_duration(text).map_err(|_| "not a duration such as 30s, 15m or 30d")
        })
        .unwrap_or(default)
    }

    /// Parses a duration that must be greater than zero and at most `longest`.
    pub(super) fn span(
        &mut self,
        name: &str,
        value: Option<&String>,
        default: Duration,
        longest: Duration,
    ) -> Duration {
        let span = self.duration(name, value, default);
        if span.is_zero() {
            self.note(name, "must be greater than zero");
        }
        if span > longest {
            self.note(
                name,
                format_args!("must be at most {}", humantime::format_duration(longest)),
            );
        }
        span
    }

    /// Parses a duration like [`span`](Self::span). The duration must also be a whole number of
    /// seconds, because tokens and messages contain times in seconds.
    pub(super) fn seconds(
        &mut self,
        name: &str,
        value: Option<&String>,
        default: Duration,
        longest: Duration,
    ) -> Duration {
        let span = self.span(name, value, default, longest);
        if span.subsec_nanos() != 0 {
            self.note(name, "must be a whole number of seconds");
        }
        span
    }

    pub(super) fn required<'v>(
        &mut self,
        name: &str,
        value: Option<&'v String>,
        what: &str,
    ) -> Option<&'v String> {
        let value = value.filter(|value| !value.is_empty());
        if value.is_none() {
            self.note(name, format_args!("missing: {what}"));
        }
        value
    }

    /// Reads and parses the file that a setting names. See [`parse_file`].
    pub(super) fn parse_file<T, E: fmt::Display>(
        &mut self,
        name: &str,
        path: &Path,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        parse_file(path, parse).map_err(|error| self.note(name, error)).ok()
    }

    /// Reads a secret from the variable `NAME`, or from the file whose path is in `NAME_FILE`.
    pub(super) fn secret(
        &mut self,
        name: &str,
        value: Option<&String>,
        file: Option<&PathBuf>,
        what: &str,
    ) -> Option<SecretString> {
        match (value.filter(|value| !value.is_empty()), given(file)) {
            (Some(_), Some(_)) => {
                self.note(name, format_args!("given twice; remove either {name} or {name}_FILE"));
                None
            }
            (None, Some(path)) => self.parse_file(&format!("{name}_FILE"), path, not_empty),
            (value, None) => self.required(name, value, what).map(|value| value.trim().into()),
        }
    }
}

/// Returns the path unless it is empty.
pub(super) fn given(path: Option<&PathBuf>) -> Option<&PathBuf> {
    path.filter(|path| !path.as_os_str().is_empty())
}
