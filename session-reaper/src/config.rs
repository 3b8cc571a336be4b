//! The configuration: the one place that reads what was given, checks it, and says everything that
//! is wrong at once.

mod command_line;
mod common;
mod exporting;
mod file;
mod location;
mod presets;
mod run_options;
mod service;
mod target_source;
mod targets;
mod throttle;
mod values;

use std::path::PathBuf;
use std::time::Duration;

use schema::connect::ConnectOptions;

pub use command_line::command_line;
pub use common::Output;
use common::{database, log, output};
use exporting::{exports, spans};
use run_options::{Consent, sweep};
pub use service::Service;
use service::service;
pub use targets::{Preset, PresetTarget, presets, targets_of};
pub use values::ConfigErrors;
use values::{DurationRange, given};

use crate::cli::{Check, Common, Daemon, Discover, Init, Pause, Plan, Resume, Run, Status};
use crate::export::Exports;
use crate::sweep::Sweep;
use crate::telemetry::{LogConfig, SpanReceiver};

/// What is reaped where there is no file.
const DEFAULT_PRESET: &str = "auth-api";

const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);

/// Longer is a slip of the pen; and PostgreSQL's calendar has a beginning.
const LONGEST_KEEP: Duration = Duration::from_hours(24 * 36_525);

/// Of `migrate`.
#[derive(Debug)]
pub struct MigrateConfig {
    /// Where.
    pub connect: ConnectOptions,
    /// Logs.
    pub log: LogConfig,
}

/// Of `discover`.
#[derive(Debug)]
pub struct DiscoverConfig {
    /// Where.
    pub connect: ConnectOptions,
    /// How to tell.
    pub output: Output,
    /// Logs.
    pub log: LogConfig,
}

/// Of `pause`.
#[derive(Debug)]
pub struct PauseConfig {
    /// Where.
    pub connect: ConnectOptions,
    /// How long.
    pub length: Duration,
    /// What for.
    pub why: Option<String>,
    /// Who says so.
    pub instance: String,
    /// How to tell.
    pub output: Output,
    /// Logs.
    pub log: LogConfig,
}

/// Of `resume`.
#[derive(Debug)]
pub struct ResumeConfig {
    /// Where.
    pub connect: ConnectOptions,
    /// How to tell.
    pub output: Output,
    /// Logs.
    pub log: LogConfig,
}

/// Of `init`.
#[derive(Debug)]
pub struct InitConfig {
    /// What to write; none for standard output.
    pub file: Option<PathBuf>,
    /// The names of the presets in it.
    pub presets: Vec<&'static str>,
}

/// Of `run`.
#[derive(Debug)]
pub struct RunConfig {
    /// What to do.
    pub sweep: Sweep,
    /// How to tell.
    pub output: Output,
    /// Where its numbers go.
    pub exports: Exports,
    /// Where its spans go.
    pub spans: Option<SpanReceiver>,
    /// Logs.
    pub log: LogConfig,
}

/// Of `check`.
#[derive(Debug)]
pub struct CheckConfig {
    /// What would be done.
    pub sweep: Sweep,
    /// How to tell.
    pub output: Output,
    /// Logs.
    pub log: LogConfig,
}

/// Of `plan`.
#[derive(Debug)]
pub struct PlanConfig {
    /// What would be done.
    pub sweep: Sweep,
    /// Show statements.
    pub sql: bool,
    /// How to tell.
    pub output: Output,
    /// Logs.
    pub log: LogConfig,
}

/// Of `status`.
#[derive(Debug)]
pub struct StatusConfig {
    /// What is looked at.
    pub sweep: Sweep,
    /// How many of the last runs.
    pub last: i64,
    /// How long between two looks; `None` for one look.
    pub watch: Option<Duration>,
    /// How to tell.
    pub output: Output,
    /// Logs.
    pub log: LogConfig,
}

/// Of `daemon`.
#[derive(Debug)]
pub struct DaemonConfig {
    /// What it is for.
    pub service: Service,
    /// Where spans go.
    pub spans: Option<SpanReceiver>,
    /// Logs.
    pub log: LogConfig,
}

impl MigrateConfig {
    /// Reads it, or says everything that is wrong.
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
    /// Reads it, or says everything that is wrong.
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
    /// Reads it, or says everything that is wrong.
    pub fn read(options: &Pause) -> Result<Self, ConfigErrors> {
        let mut config_errors = ConfigErrors::default();
        let log = log(&options.common, "warn", &mut config_errors);
        let output = output(&options.printing, &mut config_errors);
        let length = DurationRange {
            least: Duration::from_secs(1),
            most: 30 * 24 * HOUR,
            because: "what is due grows meanwhile; to stop for good, stop the reaper",
        };
        let length = config_errors.duration("--for", options.length.as_ref(), HOUR, &length);
        let why = given(options.why.as_ref()).map(str::to_owned);
        if why.as_ref().is_some_and(|why| why.contains(char::is_control)) {
            config_errors.add_unquoted("--why", "one line of text, without control characters");
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
    /// Reads it, or says everything that is wrong.
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
    /// Reads it, or says everything that is wrong.
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
    /// Reads it, or says everything that is wrong.
    pub fn read(given: &Run) -> Result<Self, ConfigErrors> {
        let mut config_errors = ConfigErrors::default();
        let log = log(&given.common, "warn", &mut config_errors);
        let output = output(&given.printing, &mut config_errors);
        let exports = exports(&given.exporting, &mut config_errors);
        let spans = spans(&given.tracing, &mut config_errors);
        match sweep(
            &given.common,
            &given.run_options,
            Consent { force_unsafe: given.force_unsafe, yes: given.yes },
            &mut config_errors,
        ) {
            Some(sweep) if config_errors.is_empty() => {
                Ok(Self { sweep, output, exports, spans, log })
            }
            _ => Err(config_errors),
        }
    }
}

impl PlanConfig {
    /// Reads it, or says everything that is wrong.
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
    /// Reads it, or says everything that is wrong.
    pub fn read(given: &Status) -> Result<Self, ConfigErrors> {
        const LAST: i64 = 10;
        let mut config_errors = ConfigErrors::default();
        let log = log(&given.common, "warn", &mut config_errors);
        let output = output(&given.printing, &mut config_errors);
        let range = DurationRange {
            least: Duration::from_millis(500),
            most: HOUR,
            because: "each look asks the database some questions",
        };
        let watch = given.watch.as_ref();
        let watch =
            watch.map(|_| config_errors.duration("--watch", watch, Duration::from_secs(2), &range));
        let last = config_errors.whole(
            "--last",
            given.last.as_ref(),
            1..=1_000,
            "the rest is in the table reaper_runs",
        );
        let last = last.and_then(|last| i64::try_from(last).ok()).unwrap_or(LAST);
        match sweep(&given.common, &given.run_options, Consent::default(), &mut config_errors) {
            Some(sweep) if config_errors.is_empty() => Ok(Self { sweep, last, watch, output, log }),
            _ => Err(config_errors),
        }
    }
}

impl CheckConfig {
    /// Reads it, or says everything that is wrong.
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
    /// Reads it, or says everything that is wrong.
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
