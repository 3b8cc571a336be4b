//! No secret on the command line: every user of the machine can read it there (`ps`), and shells keep it in their history.

use clap::parser::ValueSource;
use clap::{ArgMatches, Command};
use url::Url;

use crate::config::ConfigError;

/// Refuses secrets that were given as flags. The flags of secrets are those whose variables the help does not show.
pub(super) fn refuse(command: &Command, matches: &ArgMatches) -> Result<(), ConfigError> {
    let (mut command, mut matches) = (command, matches);
    while let Some((name, below)) = matches.subcommand() {
        let Some(subcommand) = command.find_subcommand(name) else { break };
        (command, matches) = (subcommand, below);
    }
    let secrets = command.get_arguments().filter(|flag| flag.is_hide_env_values_set());
    let mut mistakes = Vec::new();
    for flag in secrets {
        let id = flag.get_id().as_str();
        let value = matches.try_get_one::<String>(id).ok().flatten();
        let given = value.is_some_and(|value| is_secret(value));
        if given && matches.value_source(id) == Some(ValueSource::CommandLine) {
            let variable = flag.get_env().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            mistakes.push(format!(
                "{variable}: a secret on the command line, where every user of this machine can read it: set the variable {variable}, or \
                 {variable}_FILE"
            ));
        }
    }
    if mistakes.is_empty() { Ok(()) } else { Err(ConfigError(mistakes)) }
}

/// A URL without a password is none.
fn is_secret(value: &str) -> bool {
    let Some(url) = Url::parse(value).ok().filter(Url::has_host) else { return true };
    url.password().is_some() || url.query_pairs().any(|(name, _)| matches!(&*name, "password" | "pass"))
}
