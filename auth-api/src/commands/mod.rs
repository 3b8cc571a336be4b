//! The subcommands, one a file.

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
use schema::connect::has_password;
use schema::migrate::MigrateError;

use self::accounts::NotAnAccount;
use crate::admin::filter::Meaningless;
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
    /// How log lines look
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
    /// Make or update the tables; safe to repeat, and to run twice at once
    #[command(after_help = migrate::EXAMPLE)]
    Migrate(DatabaseOptions),
    /// Disable, enable and delete accounts
    #[command(subcommand)]
    Accounts(accounts::Command),
    /// See and end sessions of all accounts
    #[command(subcommand)]
    Admin(admin::Command),
    /// Let other services introspect and revoke tokens
    #[command(subcommand)]
    Clients(clients::Command),
    /// Make, rotate and retire keys and secrets
    #[command(subcommand)]
    Keys(keys::Command),
    /// Print the contract of the API, as OpenAPI 3.1
    #[command(after_help = openapi::EXAMPLE)]
    Openapi,
    /// Print the effective configuration, without its secrets
    #[command(after_help = config::EXAMPLE)]
    Config(Box<Options>),
}

impl Cli {
    /// Reads the command line; ends the process where clap does, for `--help` and for what makes no
    /// sense.
    pub fn read() -> Result<Self, ConfigError> {
        let command = Self::command();
        let matches = command.clone().get_matches();
        let secrets = secret_flags::given(&command, &matches, has_password);
        if !secrets.is_empty() {
            let mistakes = secrets.iter().map(|secret| format!("{}: {secret}", secret.variable));
            return Err(ConfigError(mistakes.collect()));
        }
        Ok(Self::from_arg_matches(&matches).unwrap_or_else(|error| error.exit()))
    }

    /// How log lines are to look.
    #[must_use]
    pub fn log_format(&self) -> LogFormat {
        self.log_format
    }
}

/// Does what was asked for.
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

/// It was called in a way that makes no sense.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Misuse(String);

/// As clap has it.
const USAGE: u8 = 2;
/// `EX_CONFIG` of sysexits.h.
const CONFIGURATION: u8 = 78;
/// `EX_UNAVAILABLE` of sysexits.h.
const UNAVAILABLE: u8 = 69;

/// Says what went wrong and chooses the exit code: 2 usage, 78 configuration, 69 database
/// unreachable, 1 anything else.
#[must_use]
pub fn fail(error: &anyhow::Error) -> ExitCode {
    eprintln!("auth-api: {error:#}");
    if error.is::<ConfigError>() || error.is::<SigningKeysError>() {
        return CONFIGURATION.into();
    }
    if error.is::<Misuse>() || error.is::<Meaningless>() || error.is::<NotAnAccount>() {
        return USAGE.into();
    }
    let unreachable = matches!(error.downcast_ref(), Some(MigrateError::Connect(_)))
        || error.is::<ConnectionError>();
    if unreachable { UNAVAILABLE.into() } else { ExitCode::FAILURE }
}

/// Prints a line for the user: the result of a command, not a log line.
#[allow(clippy::print_stdout, reason = "what a command prints is its result")]
fn say(line: impl std::fmt::Display) {
    println!("{line}");
}
