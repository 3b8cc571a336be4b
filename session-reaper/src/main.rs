//! The program: configuration, logs, the command, its exit code.

use std::fmt::Display;
use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;
use indicatif::ProgressBar;
use session_reaper::cli::{Cli, Command};
use session_reaper::config::{DaemonConfig, MigrateConfig, RunConfig};
use session_reaper::exit::Exit;
use session_reaper::stop::Stop;
use session_reaper::{bar, commands, telemetry};

/// Two threads: one for the loop, which waits for the database most of the time, one for everything beside it.
#[tokio::main(worker_threads = 2)]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let stop = match Stop::on_signals() {
        Ok(stop) => stop,
        Err(error) => return refuse(&error, Exit::Failed),
    };
    let exit = match cli.command {
        Command::Migrate(options) => match MigrateConfig::read(&options) {
            Ok(config) => {
                telemetry::init(config.log, ProgressBar::hidden());
                commands::migrate::migrate(&config.connect).await
            }
            Err(mistakes) => return refuse(&mistakes, Exit::Misconfigured),
        },
        Command::Run(options) => match RunConfig::read(&options) {
            Ok(config) => {
                let bar = bar::new();
                telemetry::init(config.log, bar.clone());
                commands::run::run(&config.sweep, config.output, bar, &stop).await
            }
            Err(mistakes) => return refuse(&mistakes, Exit::Misconfigured),
        },
        Command::Daemon(options) => match DaemonConfig::read(&options) {
            Ok(config) => {
                telemetry::init(config.log, ProgressBar::hidden());
                commands::daemon::daemon(&config.sweep, &config.schedule, config.ops_bind, &stop).await
            }
            Err(mistakes) => return refuse(&mistakes, Exit::Misconfigured),
        },
    };
    exit.into()
}

/// Before there are logs.
fn refuse(why: &dyn Display, exit: Exit) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "session-reaper: {why}");
    exit.into()
}
