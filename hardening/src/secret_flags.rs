//! Detection of secrets on the command line. Every user of the machine can read the command lines
//! of all processes (`ps`), and a shell stores command lines in its history.

use std::fmt;

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command};
use url::Url;

/// A secret that was given as a flag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretFlag {
    /// The environment variable to set instead.
    pub variable: String,
    /// Whether `{variable}_FILE` is an alternative.
    has_file: bool,
}

impl fmt::Display for SecretFlag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { variable, has_file } = self;
        write!(
            f,
            "secret on the command line, where every user of this machine can read it; set the environment variable {variable}"
        )?;
        if *has_file { write!(f, " or {variable}_FILE") } else { Ok(()) }
    }
}

/// Returns the flags on the command line that contain a secret. Only flags that are declared with
/// `hide_env_values` can contain a secret. `has_password` returns whether the URL of a database
/// contains a password, and `None` for any other value.
#[must_use]
pub fn given(
    command: &Command,
    matches: &ArgMatches,
    has_password: impl Fn(&str) -> Option<bool>,
) -> Vec<SecretFlag> {
    let is_secret = |value: &String| has_password(value).unwrap_or_else(|| is_secret(value));
    let (mut command, mut matches) = (command, matches);
    while let Some((name, below)) = matches.subcommand() {
        let Some(subcommand) = command.find_subcommand(name) else { break };
        (command, matches) = (subcommand, below);
    }
    let mut given = Vec::new();
    for flag in command.get_arguments().filter(|flag| flag.is_hide_env_values_set()) {
        let (id, variable) = (flag.get_id().as_str(), variable(flag));
        let value = matches.try_get_one(id).ok().flatten();
        let on_the_command_line = matches.value_source(id) == Some(ValueSource::CommandLine);
        if on_the_command_line && value.is_some_and(is_secret) {
            let file = format!("{variable}_FILE");
            let has_file = command.get_arguments().any(|other| self::variable(other) == file);
            given.push(SecretFlag { variable, has_file });
        }
    }
    given
}

fn variable(flag: &Arg) -> String {
    flag.get_env().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// Returns whether this value is a secret. A URL without a password is not a secret, except for an
/// HTTP URL with a user or a query: the user or the query may be a token.
fn is_secret(value: &str) -> bool {
    let Some(url) = Url::parse(value).ok().filter(|_| value.contains("://")) else { return true };
    let over_http = matches!(url.scheme(), "http" | "https");
    url.password().is_some()
        || url.query_pairs().any(|(name, _)| matches!(&*name, "password" | "pass"))
        || (over_http && (!url.username().is_empty() || url.query().is_some()))
}
