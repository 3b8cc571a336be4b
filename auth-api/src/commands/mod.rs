//! The command line. Each subcommand is one file.

mod accounts;
mod admin;
mod clients;
mod config;
mod keys;
mod migrate;
mod openapi;
mod output;
mod serve;

use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use diesel::ConnectionError;
use hardening::secret_flags;
use pg::connect::has_password;
use schema::migrate::MigrateError;

use self::accounts::NotAnAccount;
use crate::admin::filter::InvalidArgument;
use crate::config::{ConfigError, DatabaseOptions, Options};
use crate::credentials::signing_keys::SigningKeysError;
use crate::telemetry::LogFormat;

/// Wallet login for Stellar: sessions, rotating refresh tokens and a denylist
#[derive(Parser, Debug)]
#[command(
    name = "auth-api",
    version,
    after_help = "Example:\n  auth-api migrate && auth-api serve"
)]
pub struct Cli {
    /// Format of the log lines
    #[arg(long, env, global = true, value_enum, default_value_t, ignore_case = true)]
    log_format: LogFormat,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Serve the API
    #[command(after_help = serve::EXAMPLE)]
    Serve(Box<Options>),
    /// Create or update the tables; safe to repeat and to run concurrently
    #[command(after_help = migrate::EXAMPLE)]
    Migrate(DatabaseOptions),
    /// Disable, enable or delete an account
    #[command(subcommand)]
    Accounts(accounts::Command),
    /// List or end sessions of any account
    #[command(subcommand)]
    Admin(admin::Command),
    /// Manage the services that may introspect and revoke tokens
    #[command(subcommand)]
    Clients(clients::Command),
    /// Generate, rotate and retire keys and secrets
    #[command(subcommand)]
    Keys(keys::Command),
    /// Print the API specification as OpenAPI 3.1
    #[command(after_help = openapi::EXAMPLE)]
    Openapi,
    /// Print the effective configuration, without its secrets
    #[command(after_help = config::EXAMPLE)]
    Config(Box<Options>),
}

impl Cli {
    /// Parses the command line. Exits the process for `--help`, `--version` and usage errors, as
    /// clap does. Returns an error if a secret was given as a flag.
    pub fn read() -> Result<Self, ConfigError> {
        let command = Self::command();
        let matches = command.clone().get_matches();
        let secrets = secret_flags::given(&command, &matches, has_password);
        if !secrets.is_empty() {
            let errors = secrets.iter().map(|secret| format!("{}: {secret}", secret.variable));
            return Err(ConfigError(errors.collect()));
        }
        Ok(Self::from_arg_matches(&matches).unwrap_or_else(|error| error.exit()))
    }

    /// Returns the format of the log lines.
    #[must_use]
    pub fn log_format(&self) -> LogFormat {
        self.log_format
    }
}

/// Runs the subcommand.
pub async fn run(cli: Cli) -> anyhow::Result<()> {
    match cli.command {
        Command::Serve(options) => serve::run(&options).await,
        Command::Migrate(options) => migrate::run(&options).await,
        Command::Accounts(command) => accounts::run(&command).await,
        Command::Admin(command) => admin::run(&command).await,
        Command::Clients(command) => clients::run(&command),
        Command::Keys(command) => keys::run(&command),
        Command::Openapi => openapi::run(),
        Command::Config(options) => config::run(&options),
    }
}

/// A usage error that clap does not detect.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Misuse(String);

/// The exit code for usage errors, the same as clap's.
const USAGE: u8 = 2;
/// The exit code for configuration errors: `EX_CONFIG` from sysexits.h.
const CONFIGURATION: u8 = 78;
/// The exit code if the database is unreachable: `EX_UNAVAILABLE` from sysexits.h.
const UNAVAILABLE: u8 = 69;

/// Prints the error to standard error and returns the exit code: 2 for a usage error, 69 if the
/// database is unreachable, 78 for a configuration error, 1 for any other error.
#[must_use]
pub fn fail(error: &anyhow::Error) -> ExitCode {
    eprintln!("auth-api: {error:#}");
    if error.is::<ConfigError>() || error.is::<SigningKeysError>() {
        return CONFIGURATION.into();
    }
    if error.is::<Misuse>() || error.is::<InvalidArgument>() || error.is::<NotAnAccount>() {
        return USAGE.into();
    }
    let unreachable = matches!(error.downcast_ref(), Some(MigrateError::Connect(_)))
        || error.is::<ConnectionError>();
    if unreachable { UNAVAILABLE.into() } else { ExitCode::FAILURE }
}

/// Prints a line to standard output. Standard output contains only the result of a command, and no
/// log lines.
#[allow(clippy::print_stdout, reason = "the result of a command goes to standard output")]
fn say(line: impl std::fmt::Display) {
    println!("{line}");
}
