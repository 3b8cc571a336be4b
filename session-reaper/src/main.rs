//! The program: reads the configuration, starts logging, runs the command, and returns the exit
//! code.

use std::fmt::Display;
use std::io::Write as _;
use std::process::ExitCode;

use indicatif::ProgressBar;
use reaper::Exit;
use session_reaper::cli::{Cli, Command};
use session_reaper::config::{
    CheckConfig, DaemonConfig, DiscoverConfig, InitConfig, MigrateConfig, PauseConfig, PlanConfig,
    ResumeConfig, RunConfig, StatusConfig, command_line,
};
use session_reaper::output::progress_bar;
use session_reaper::reload::{log_overridden, on_hangup};
use session_reaper::signals::stop_on_signals;
use session_reaper::{commands, telemetry};

/// Runs on two worker threads: one for the deletion loop and one for everything else.
#[tokio::main(worker_threads = 2)]
async fn main() -> ExitCode {
    let cli = match command_line() {
        Ok(cli) => cli,
        Err(config_errors) => return refuse(&config_errors, Exit::Misconfigured).into(),
    };
    // A spawned task runs on a worker thread. Otherwise, the task would run on the main thread,
    // which is not a worker thread and would be woken for each response from the database.
    match tokio::spawn(command(cli)).await {
        Ok(exit) => exit.into(),
        Err(error) => refuse(&error, Exit::Failed).into(),
    }
}

async fn command(cli: Cli) -> Exit {
    match cli.command {
        // A signal ends `migrate` immediately, because each migration runs in a transaction of its
        // own.
        Command::Migrate(options) => match MigrateConfig::read(&options) {
            Ok(config) => {
                telemetry::init(config.log, ProgressBar::hidden());
                commands::migrate::migrate(&config.connect).await
            }
            Err(config_errors) => refuse(&config_errors, Exit::Misconfigured),
        },
        // A signal ends `check` immediately, because `check` only reads.
        Command::Check(options) => match CheckConfig::read(&options) {
            Ok(config) => {
                telemetry::init(config.log, ProgressBar::hidden());
                commands::check::check(&config.sweep, config.output).await
            }
            Err(config_errors) => refuse(&config_errors, Exit::Misconfigured),
        },
        Command::Plan(options) => match PlanConfig::read(&options) {
            Ok(config) => {
                telemetry::init(config.log, ProgressBar::hidden());
                commands::plan::plan(&config.sweep, config.sql, config.output).await
            }
            Err(config_errors) => refuse(&config_errors, Exit::Misconfigured),
        },
        Command::Status(options) => match (StatusConfig::read(&options), stop_on_signals()) {
            (Ok(config), Ok(stop)) => {
                telemetry::init(config.log, ProgressBar::hidden());
                commands::status::status(
                    &config.sweep,
                    (config.last, config.interval),
                    config.watch,
                    config.output,
                    &stop,
                )
                .await
            }
            (Err(config_errors), _) => refuse(&config_errors, Exit::Misconfigured),
            (_, Err(error)) => refuse(&error, Exit::Failed),
        },
        Command::Init(options) => match InitConfig::read(&options) {
            Ok(config) => match commands::init::init(&config) {
                Ok(()) => Exit::Done,
                Err(why) => refuse(&why, Exit::Failed),
            },
            Err(config_errors) => refuse(&config_errors, Exit::Misconfigured),
        },
        Command::Completions { shell } => {
            commands::completions::completions(shell);
            Exit::Done
        }
        Command::Man { directory } => match commands::man::man(&directory) {
            Ok(()) => Exit::Done,
            Err(why) => refuse(&why, Exit::Failed),
        },
        // A signal ends `discover` immediately, because `discover` only reads.
        Command::Discover(options) => match DiscoverConfig::read(&options) {
            Ok(config) => {
                telemetry::init(config.log, ProgressBar::hidden());
                commands::discover::discover(&config.connect, config.output).await
            }
            Err(config_errors) => refuse(&config_errors, Exit::Misconfigured),
        },
        Command::Pause(options) => match PauseConfig::read(&options) {
            Ok(config) => {
                telemetry::init(config.log, ProgressBar::hidden());
                let (why, by) = (config.why.as_deref(), config.instance.as_str());
                commands::pause::pause(&config.connect, config.length, why, by, config.output).await
            }
            Err(config_errors) => refuse(&config_errors, Exit::Misconfigured),
        },
        Command::Resume(options) => match ResumeConfig::read(&options) {
            Ok(config) => {
                telemetry::init(config.log, ProgressBar::hidden());
                commands::resume::resume(&config.connect, config.output).await
            }
            Err(config_errors) => refuse(&config_errors, Exit::Misconfigured),
        },
        Command::Run(options) => match (RunConfig::read(&options), stop_on_signals()) {
            (Ok(config), Ok(stop)) => {
                let bar = progress_bar::new();
                let spans =
                    telemetry::init_with_spans(config.log, bar.clone(), config.spans.as_ref());
                log_overridden(&config.overridden);
                let read =
                    move || RunConfig::read(&options).map(|read| (read.sweep, read.overridden));
                let sweeps = match on_hangup(config.sweep, read) {
                    Ok(sweeps) => sweeps,
                    Err(error) => return refuse(&error, Exit::Failed),
                };
                let sweep = sweeps.borrow().clone();
                let exit = commands::run::run(
                    (&sweep, config.trigger),
                    config.output,
                    &config.exports,
                    spans,
                    bar,
                    &stop,
                )
                .await;
                let is_ok = exit == Exit::Unfinished && config.unfinished_is_ok;
                if is_ok { Exit::Done } else { exit }
            }
            (Err(config_errors), _) => refuse(&config_errors, Exit::Misconfigured),
            (_, Err(error)) => refuse(&error, Exit::Failed),
        },
        Command::Config(options) => match DaemonConfig::read(&options) {
            Ok(config) => {
                commands::config::config(&config);
                Exit::Done
            }
            Err(config_errors) => refuse(&config_errors, Exit::Misconfigured),
        },
        Command::Daemon(options) => match (DaemonConfig::read(&options), stop_on_signals()) {
            (Ok(config), Ok(stop)) => {
                let spans = telemetry::init_with_spans(
                    config.log,
                    ProgressBar::hidden(),
                    config.spans.as_ref(),
                );
                log_overridden(&config.service.overridden);
                let read = move || {
                    let read = DaemonConfig::read(&options)?;
                    Ok((read.service.sweep, read.service.overridden))
                };
                let sweeps = match on_hangup(config.service.sweep.clone(), read) {
                    Ok(sweeps) => sweeps,
                    Err(error) => return refuse(&error, Exit::Failed),
                };
                let exit = commands::daemon::daemon(&config.service, &sweeps, &stop).await;
                spans.finish().await;
                exit
            }
            (Err(config_errors), _) => refuse(&config_errors, Exit::Misconfigured),
            (_, Err(error)) => refuse(&error, Exit::Failed),
        },
    }
}

/// Prints an error that occurs before logging is configured, and returns the exit code.
fn refuse(why: &dyn Display, exit: Exit) -> Exit {
    let _ = writeln!(std::io::stderr(), "session-reaper: {why}");
    exit
}
