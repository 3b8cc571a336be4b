//! `auth-api`: see `auth-api --help`, and the library for how it works.

use std::process::ExitCode;

use auth_api::commands::{self, Cli};
use auth_api::telemetry;
use clap::Parser as _;

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Err(error) = telemetry::log_to_stderr(cli.log_format()) {
        return commands::fail(&error);
    }
    match commands::run(cli).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => commands::fail(&error),
    }
}
