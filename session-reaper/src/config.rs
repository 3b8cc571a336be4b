//! The configuration. Only this module parses and validates options. It reports all errors at once.

mod command_line;
mod common;
mod defaults;
mod exporting;
mod file;
mod file_settings;
mod location;
mod presets;
mod run_options;
mod service;
mod target_source;
mod targets;
mod throttle;
mod values;

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::time::Duration;

use pg::connect::ConnectOptions;

pub use command_line::command_line;
pub use common::Output;
use common::{database, log, output};
use exporting::{exports, spans};
pub use file_settings::Overridden;
use run_options::{Consent, Loaded, load, sweep};
pub use service::Service;
use service::service;
pub use targets::{Preset, PresetTarget, presets, targets_of};
pub use values::ConfigErrors;
use values::{DurationRange, given};

use crate::cli::{Check, Common, Daemon, Discover, Init, Pause, Plan, Resume, Run, Status};
use crate::export::Exports;
use crate::telemetry::{LogConfig, SpanReceiver};
use reaper::{Sweep, Trigger};
pub use target_source::RETENTIONS;

/// The preset (a built-in list of targets) that is used without a configuration file.
const DEFAULT_PRESET: &str = "auth-api";

const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);

/// The maximum retention. A longer retention must be a typing error. Also, the current time minus a
/// longer retention could be before the earliest timestamp that PostgreSQL supports.
const LONGEST_KEEP: Duration = Duration::from_hours(24 * 36_525);

/// Configuration of `migrate`.
#[derive(Debug)]
pub struct MigrateConfig {
    /// The database.
    pub connect: ConnectOptions,
    /// Logging.
    pub log: LogConfig,
}

/// Configuration of `discover`.
#[derive(Debug)]
pub struct DiscoverConfig {
    /// The database.
    pub connect: ConnectOptions,
    /// Format of the output.
    pub output: Output,
    /// Logging.
    pub log: LogConfig,
}

/// Configuration of `pause`.
#[derive(Debug)]
pub struct PauseConfig {
    /// The database.
    pub connect: ConnectOptions,
    /// Duration of the pause.
    pub length: Duration,
    /// Reason for the pause.
    pub why: Option<String>,
    /// The host and process that set the pause.
    pub instance: String,
    /// Format of the output.
    pub output: Output,
    /// Logging.
    pub log: LogConfig,
}

/// Configuration of `resume`.
#[derive(Debug)]
pub struct ResumeConfig {
    /// The database.
    pub connect: ConnectOptions,
    /// Format of the output.
    pub output: Output,
    /// Logging.
    pub log: LogConfig,
}

/// Configuration of `init`.
#[derive(Debug)]
pub struct InitConfig {
    /// The file to write; `None` if the text is written to standard output.
    pub file: Option<PathBuf>,
    /// The names of the presets to include.
    pub presets: Vec<&'static str>,
}

/// Configuration of `run`.
#[derive(Debug)]
pub struct RunConfig {
    /// The settings of the run.
    pub sweep: Sweep,
    /// The settings in the file that have no effect, because a flag or a variable overrides them.
    pub overridden: Vec<Overridden>,
    /// Format of the output.
    pub output: Output,
    /// Destinations of the run's metrics.
    pub exports: Exports,
    /// Destination of the run's spans.
    pub spans: Option<SpanReceiver>,
    /// Whether [`reaper::Exit::Unfinished`] counts as success.
    pub unfinished_is_ok: bool,
    /// What started the run.
    pub trigger: Trigger,
    /// Logging.
    pub log: LogConfig,
}

/// Configuration of `check`.
#[derive(Debug)]
pub struct CheckConfig {
    /// The settings of the run: its database, its targets and its limits.
    pub sweep: Sweep,
    /// Format of the output.
    pub output: Output,
    /// Logging.
    pub log: LogConfig,
}

/// Configuration of `plan`.
#[derive(Debug)]
pub struct PlanConfig {
    /// The settings of the run: its database, its targets and its limits.
    pub sweep: Sweep,
    /// Whether to show the SQL statements.
    pub sql: bool,
    /// Format of the output.
    pub output: Output,
    /// Logging.
    pub log: LogConfig,
}

/// Configuration of `status`.
#[derive(Debug)]
pub struct StatusConfig {
    /// The database and the targets.
    pub sweep: Sweep,
    /// Number of recent runs to show.
    pub last: i64,
    /// Refresh interval; `None` if the status is printed only once.
    pub watch: Option<Duration>,
    /// The longest expected time between two successful runs; `None` to use the schedule of the
    /// daemon.
    pub interval: Option<Duration>,
    /// Format of the output.
    pub output: Output,
    /// Logging.
    pub log: LogConfig,
}

/// Configuration of `daemon`.
#[derive(Debug)]
pub struct DaemonConfig {
    /// The settings of the runs, the schedule and the operations port.
    pub service: Service,
    /// Destination of spans.
    pub spans: Option<SpanReceiver>,
    /// Logging.
    pub log: LogConfig,
}

impl MigrateConfig {
    /// Parses the options, or returns every error in them.
    pub fn read(given: &Common) -> Result<Self, ConfigErrors> {
        let mut config_errors = ConfigErrors::default();
        let log = log(given, "warn", &mut config_errors);
        match database(given, &mut config_errors) {
            Some(connect) if config_errors.is_empty() => Ok(Self { connect, log }),
            _ => Err(config_errors),
        }
    }
}

impl DiscoverConfig {
    /// Parses the options, or returns every error in them.
    pub fn read(given: &Discover) -> Result<Self, ConfigErrors> {
        let mut config_errors = ConfigErrors::default();
        let log = log(&given.common, "warn", &mut config_errors);
        let output = output(&given.printing, &mut config_errors);
        match database(&given.common, &mut config_errors) {
            Some(connect) if config_errors.is_empty() => Ok(Self { connect, output, log }),
            _ => Err(config_errors),
        }
    }
}

impl PauseConfig {
    /// Parses the options, or returns every error in them.
    pub fn read(options: &Pause) -> Result<Self, ConfigErrors> {
        let mut config_errors = ConfigErrors::default();
        let log = log(&options.common, "warn", &mut config_errors);
        let output = output(&options.printing, &mut config_errors);
        let length = DurationRange {
            least: Duration::from_secs(1),
            most: 30 * 24 * HOUR,
            because: "due rows accumulate during a pause; to stop permanently, stop the reaper",
        };
        let length =
            config_errors.duration("--for", options.length.as_ref(), defaults::PAUSE, &length);
        let why = given(options.why.as_ref()).map(str::to_owned);
        if why.as_ref().is_some_and(|why| why.contains(char::is_control)) {
            config_errors.add_unquoted("--why", "must be one line without control characters");
        }
        match database(&options.common, &mut config_errors) {
            Some(connect) if config_errors.is_empty() => {
                Ok(Self { connect, length, why, instance: run_options::instance(), output, log })
            }
            _ => Err(config_errors),
        }
    }
}

impl ResumeConfig {
    /// Parses the options, or returns every error in them.
    pub fn read(options: &Resume) -> Result<Self, ConfigErrors> {
        let mut config_errors = ConfigErrors::default();
        let log = log(&options.common, "warn", &mut config_errors);
        let output = output(&options.printing, &mut config_errors);
        match database(&options.common, &mut config_errors) {
            Some(connect) if config_errors.is_empty() => Ok(Self { connect, output, log }),
            _ => Err(config_errors),
        }
    }
}

impl InitConfig {
    /// Parses the options, or returns every error in them.
    pub fn read(given: &Init) -> Result<Self, ConfigErrors> {
        let mut config_errors = ConfigErrors::default();
        let mut chosen = Vec::new();
        for name in &given.preset {
            match presets::find(name) {
                Ok((name, _)) if chosen.contains(&name) => {}
                Ok((name, _)) => chosen.push(name),
                Err(why) => config_errors.add("--preset", name, why),
            }
        }
        if given.preset.is_empty() {
            chosen.push(DEFAULT_PRESET);
        }
        let file = (given.file != "-").then(|| PathBuf::from(&given.file));
        if config_errors.is_empty() {
            Ok(Self { file, presets: chosen })
        } else {
            Err(config_errors)
        }
    }
}

impl RunConfig {
    /// Parses the options, or returns every error in them.
    pub fn read(given: &Run) -> Result<Self, ConfigErrors> {
        let mut config_errors = ConfigErrors::default();
        let log = log(&given.common, "warn", &mut config_errors);
        let output = output(&given.printing, &mut config_errors);
        let exports = exports(&given.exporting, &mut config_errors);
        let spans = spans(&given.tracing, &mut config_errors);
        let unfinished_is_ok = config_errors.choice(
            "UNFINISHED_IS_OK",
            given.unfinished_is_ok.as_ref(),
            false,
            &[("0", false), ("1", true)],
        );
        let trigger = config_errors.choice(
            "TRIGGER",
            given.trigger.as_ref(),
            if is_service() { Trigger::Schedule } else { Trigger::Manual },
            &[("manual", Trigger::Manual), ("schedule", Trigger::Schedule)],
        );
        match load(
            &given.common,
            &given.run_options,
            Consent { force_unsafe: given.force_unsafe, yes: given.yes },
            &mut config_errors,
        ) {
            Some(Loaded { sweep, overridden }) if config_errors.is_empty() => Ok(Self {
                sweep,
                overridden,
                output,
                exports,
                spans,
                unfinished_is_ok,
                trigger,
                log,
            }),
            _ => Err(config_errors),
        }
    }
}

/// Returns `true` if systemd runs this process as a service. Standard output is checked, too,
/// because a program that a user starts in a terminal may inherit the variable of a service.
fn is_service() -> bool {
    std::env::var_os("INVOCATION_ID").is_some() && !std::io::stdout().is_terminal()
}

impl PlanConfig {
    /// Parses the options, or returns every error in them.
    pub fn read(given: &Plan) -> Result<Self, ConfigErrors> {
        let mut config_errors = ConfigErrors::default();
        let log = log(&given.common, "warn", &mut config_errors);
        let output = output(&given.printing, &mut config_errors);
        match sweep(&given.common, &given.run_options, Consent::default(), &mut config_errors) {
            Some(sweep) if config_errors.is_empty() => {
                Ok(Self { sweep, sql: given.sql, output, log })
            }
            _ => Err(config_errors),
        }
    }
}

impl StatusConfig {
    /// Parses the options, or returns every error in them.
    pub fn read(given: &Status) -> Result<Self, ConfigErrors> {
        let mut config_errors = ConfigErrors::default();
        let log = log(&given.common, "warn", &mut config_errors);
        let output = output(&given.printing, &mut config_errors);
        let range = DurationRange {
            least: Duration::from_millis(500),
            most: HOUR,
            because: "each refresh queries the database",
        };
        let watch = given.watch.as_ref();
        let watch = watch
            .map(|_| config_errors.duration("--watch", watch, defaults::WATCH_INTERVAL, &range));
        let range = DurationRange {
            least: Duration::from_secs(1),
            most: 366 * 24 * HOUR,
            because: "runs are expected at least once a year",
        };
        let interval = given.interval.as_ref();
        let interval =
            interval.map(|_| config_errors.duration("--interval", interval, 24 * HOUR, &range));
        let last = config_errors.whole(
            "--last",
            given.last.as_ref(),
            1..=1_000,
            "older runs are in the table reaper_runs",
        );
        let last = last.and_then(|last| i64::try_from(last).ok()).unwrap_or(defaults::LAST_RUNS);
        match sweep(&given.common, &given.run_options, Consent::default(), &mut config_errors) {
            Some(sweep) if config_errors.is_empty() => {
                Ok(Self { sweep, last, watch, interval, output, log })
            }
            _ => Err(config_errors),
        }
    }
}

impl CheckConfig {
    /// Parses the options, or returns every error in them.
    pub fn read(given: &Check) -> Result<Self, ConfigErrors> {
        let mut config_errors = ConfigErrors::default();
        let log = log(&given.common, "warn", &mut config_errors);
        let output = output(&given.printing, &mut config_errors);
        match sweep(&given.common, &given.run_options, Consent::default(), &mut config_errors) {
            Some(sweep) if config_errors.is_empty() => Ok(Self { sweep, output, log }),
            _ => Err(config_errors),
        }
    }
}

impl DaemonConfig {
    /// Parses the options, or returns every error in them.
    pub fn read(options: &Daemon) -> Result<Self, ConfigErrors> {
        let mut config_errors = ConfigErrors::default();
        let log = log(&options.common, "info", &mut config_errors);
        let spans = spans(&options.tracing, &mut config_errors);
        match service(options, &mut config_errors) {
            Some(service) if config_errors.is_empty() => Ok(Self { service, spans, log }),
            _ => Err(config_errors),
        }
    }
}
