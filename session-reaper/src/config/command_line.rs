//! Parses the command line and rejects secrets in it.

use clap::{CommandFactory as _, FromArgMatches as _};
use hardening::secret_flags;
use pg::connect::has_password;

use super::values::ConfigErrors;
use crate::cli::Cli;

/// Parses the command line. Like [`clap::Parser::parse`], this function ends the process for
/// `--help` and for usage errors. If a flag contains a secret, returns a configuration error.
pub fn command_line() -> Result<Cli, ConfigErrors> {
    let command = Cli::command();
    let matches = command.clone().get_matches();
    let mut config_errors = ConfigErrors::default();
    for secret in secret_flags::given(&command, &matches, has_password) {
        config_errors.add_at(secret.variable.clone(), secret.to_string());
    }
    if !config_errors.is_empty() {
        return Err(config_errors);
    }
    Ok(Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit()))
}
