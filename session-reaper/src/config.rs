//! The configuration: the one place that reads what was given, checks it, and says everything that is wrong at once.

mod file;
mod place;
mod presets;
mod reaped;
mod targets;
mod values;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use schema::connect::ConnectOptions;
use tracing_subscriber::EnvFilter;

pub use targets::{Preset, PresetTarget, presets};
pub use values::Mistakes;
use values::{DurationRange, given};

use crate::cli::{Common, Daemon, Discover, Init, Run, Sweeping};
use crate::schedule::Schedule;
use crate::sweep::{BudgetLimits, PaceLimits, StatementBounds, Sweep};

/// Half of what a request may wait for without its user noticing, and far below PostgreSQL's `deadlock_timeout` of one
/// second: should we and a request ever wait for each other, we are the ones who give way.
const LOCK_TIMEOUT: Duration = Duration::from_millis(50);

/// Hundreds of times what a chunk aims at. A chunk that takes longer holds its rows for too long.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(5);

/// About a thousand rows. Beside traffic, chunks of 1,000 rows with a pause had half the effect on its 99th percentile
/// of chunks of 5,000.
const CHUNK_TIME: Duration = Duration::from_millis(10);

/// Beyond it chunks get longer and not faster: 500 to 720 thousand rows a second from 5,000 to 50,000.
const MAX_CHUNK: u32 = 5_000;

/// With it the 99th percentile of the traffic beside was 2 times what it is without a reaper, and 3 times without it.
const DUTY_CYCLE: f64 = 0.2;

/// Every quarter of an hour: a tick that finds nothing costs a few milliseconds.
const SCHEDULE: &str = "*/15 * * * *";

const OPS_BIND: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9081);

/// What is reaped where there is no file.
const DEFAULT_PRESET: &str = "auth-api";

const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);

/// Longer is a slip of the pen; and PostgreSQL's calendar has a beginning.
const LONGEST_KEEP: Duration = Duration::from_hours(24 * 36_525);

/// How logs look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One object a line.
    Json,
}

/// What `run` prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// A table.
    Text,
    /// The report as one object.
    Json,
}

/// What and how to log.
#[derive(Debug)]
pub struct LogConfig {
    /// How.
    pub format: LogFormat,
    /// What.
    pub filter: EnvFilter,
    /// Whether colours are welcome (<https://no-color.org>).
    pub colour: bool,
}

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
    /// Logs.
    pub log: LogConfig,
}

/// Of `daemon`.
#[derive(Debug)]
pub struct DaemonConfig {
    /// What to do.
    pub sweep: Sweep,
    /// When.
    pub schedule: Schedule,
    /// Where operators look.
    pub ops_bind: SocketAddr,
    /// Logs.
    pub log: LogConfig,
}

impl MigrateConfig {
    /// Reads it, or says everything that is wrong.
    pub fn read(given: &Common) -> Result<Self, Mistakes> {
        let mut mistakes = Mistakes::default();
        let log = log(given, "warn", &mut mistakes);
        match database(given, &mut mistakes) {
            Some(connect) if mistakes.is_empty() => Ok(Self { connect, log }),
            _ => Err(mistakes),
        }
    }
}

impl DiscoverConfig {
    /// Reads it, or says everything that is wrong.
    pub fn read(given: &Discover) -> Result<Self, Mistakes> {
        let mut mistakes = Mistakes::default();
        let log = log(&given.common, "warn", &mut mistakes);
        let output = output(given.output.as_ref(), &mut mistakes);
        match database(&given.common, &mut mistakes) {
            Some(connect) if mistakes.is_empty() => Ok(Self { connect, output, log }),
            _ => Err(mistakes),
        }
    }
}

impl InitConfig {
    /// Reads it, or says everything that is wrong.
    pub fn read(given: &Init) -> Result<Self, Mistakes> {
        let mut mistakes = Mistakes::default();
        let mut chosen = Vec::new();
        for name in &given.preset {
            match presets::find(name) {
                Ok((name, _)) if chosen.contains(&name) => {}
                Ok((name, _)) => chosen.push(name),
                Err(why) => mistakes.add("--preset", name, why),
            }
        }
        if given.preset.is_empty() {
            chosen.push(DEFAULT_PRESET);
        }
        let file = (given.file != "-").then(|| PathBuf::from(&given.file));
        if mistakes.is_empty() { Ok(Self { file, presets: chosen }) } else { Err(mistakes) }
    }
}

impl RunConfig {
    /// Reads it, or says everything that is wrong.
    pub fn read(given: &Run) -> Result<Self, Mistakes> {
        let mut mistakes = Mistakes::default();
        let log = log(&given.common, "warn", &mut mistakes);
        let output = output(given.output.as_ref(), &mut mistakes);
        match sweep(&given.common, &given.sweeping, &mut mistakes) {
            Some(sweep) if mistakes.is_empty() => Ok(Self { sweep, output, log }),
            _ => Err(mistakes),
        }
    }
}

impl DaemonConfig {
    /// Reads it, or says everything that is wrong.
    pub fn read(options: &Daemon) -> Result<Self, Mistakes> {
        let mut mistakes = Mistakes::default();
        let log = log(&options.common, "info", &mut mistakes);
        let schedule = schedule(options, &mut mistakes);
        let ops_bind = match given(options.ops_bind.as_ref()).map(|text| (text, text.parse())) {
            None => OPS_BIND,
            Some((_, Ok(address))) => address,
            Some((text, Err(_))) => {
                mistakes.add("OPS_BIND", text, format!("an address and a port, such as {OPS_BIND}"));
                OPS_BIND
            }
        };
        match (sweep(&options.common, &options.sweeping, &mut mistakes), schedule) {
            (Some(sweep), Some(schedule)) if mistakes.is_empty() => Ok(Self { sweep, schedule, ops_bind, log }),
            _ => Err(mistakes),
        }
    }
}

fn log(common: &Common, default_filter: &str, mistakes: &mut Mistakes) -> LogConfig {
    let format = mistakes.choice(
        "LOG_FORMAT",
        common.log_format.as_ref(),
        LogFormat::Text,
        &[("text", LogFormat::Text), ("json", LogFormat::Json)],
    );
    let text = given(common.log_filter.as_ref()).unwrap_or(default_filter);
    let filter = EnvFilter::builder().parse(text).unwrap_or_else(|error| {
        mistakes.add("RUST_LOG", text, format!("a level or directives, such as info,session_reaper=debug ({error})"));
        EnvFilter::default()
    });
    let colour = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    LogConfig { format, filter, colour }
}

fn output(given: Option<&String>, mistakes: &mut Mistakes) -> Output {
    mistakes.choice("OUTPUT", given, Output::Text, &[("text", Output::Text), ("json", Output::Json)])
}

fn database(common: &Common, mistakes: &mut Mistakes) -> Option<ConnectOptions> {
    const NAME: &str = "DATABASE_URL";
    let url = match (given(common.database_url.as_ref()), given(common.database_url_file.as_ref())) {
        (Some(_), Some(_)) => {
            mistakes.add_unquoted(NAME, "given, and DATABASE_URL_FILE too: leave one of them out");
            return None;
        }
        (None, None) => {
            mistakes.add_unquoted(
                NAME,
                "not given: postgres://user@host/database, or DATABASE_URL_FILE with a file that holds it",
            );
            return None;
        }
        (Some(url), None) => url.to_owned(),
        (None, Some(file)) => match std::fs::read_to_string(file) {
            Ok(text) => text.trim().to_owned(),
            Err(error) => {
                mistakes.add("DATABASE_URL_FILE", file, format!("a file that can be read ({error})"));
                return None;
            }
        },
    };
    ConnectOptions::new(&url, env!("CARGO_PKG_NAME"))
        .map_err(|error| mistakes.add_unquoted(NAME, format!("{error}: postgres://user@host/database")))
        .ok()
}

fn schedule(options: &Daemon, mistakes: &mut Mistakes) -> Option<Schedule> {
    let zone = given(options.timezone.as_ref()).unwrap_or("UTC");
    let zone = zone.parse::<chrono_tz::Tz>().map_err(|_| {
        mistakes.add("TIMEZONE", zone, "a name of the IANA time zone database, such as UTC or Europe/Berlin");
    });
    let cron = given(options.schedule.as_ref()).unwrap_or(SCHEDULE);
    Schedule::new(cron, zone.unwrap_or(chrono_tz::UTC))
        .map_err(|why| {
            mistakes.add("SCHEDULE", cron, format!("five fields as in crontab(5), such as {SCHEDULE} ({why})"));
        })
        .ok()
}

fn sweep(common: &Common, options: &Sweeping, mistakes: &mut Mistakes) -> Option<Sweep> {
    let connect = database(common, mistakes);
    let bounds = bounds(options, mistakes);
    let pace = pace(options, bounds, mistakes);
    let any = DurationRange {
        least: Duration::from_secs(1),
        most: LONGEST_KEEP,
        because: "a run that may take no time does nothing",
    };
    let runtime = options.max_runtime.as_ref();
    let budget = BudgetLimits {
        runtime: given(runtime).map(|_| mistakes.duration("MAX_RUNTIME", runtime, HOUR, &any)),
        rows: mistakes.whole("MAX_ROWS", options.max_rows.as_ref(), 1..=u64::MAX >> 1, "leave it out for all rows"),
    };
    let targets = reaped::targets(options, mistakes);
    Some(Sweep { connect: connect?, targets, pace, budget, bounds, instance: instance() })
}

fn bounds(options: &Sweeping, mistakes: &mut Mistakes) -> StatementBounds {
    let statement = DurationRange {
        least: Duration::from_millis(100),
        most: HOUR,
        because: "a chunk takes milliseconds, and holds its rows meanwhile",
    };
    let lock = DurationRange {
        least: Duration::from_millis(1),
        most: MINUTE,
        because: "it bounds how long others wait behind a chunk that waits",
    };
    StatementBounds {
        statement: mistakes.duration(
            "STATEMENT_TIMEOUT",
            options.statement_timeout.as_ref(),
            STATEMENT_TIMEOUT,
            &statement,
        ),
        lock: mistakes.duration("LOCK_TIMEOUT", options.lock_timeout.as_ref(), LOCK_TIMEOUT, &lock),
    }
}

fn pace(options: &Sweeping, bounds: StatementBounds, mistakes: &mut Mistakes) -> PaceLimits {
    let chunk_time = DurationRange {
        least: Duration::from_millis(1),
        most: bounds.statement / 2,
        because: "a chunk has to fit into STATEMENT_TIMEOUT with room to spare",
    };
    let max_chunk = mistakes
        .whole("MAX_CHUNK", options.max_chunk.as_ref(), 1..=100_000, "larger chunks are longer and no faster")
        .and_then(|rows| u32::try_from(rows).ok());
    let duty_cycle = given(options.duty_cycle.as_ref()).map_or(DUTY_CYCLE, |text| match text.parse::<f64>() {
        Ok(share) if (0.01..=1.0).contains(&share) => share,
        _ => {
            mistakes.add("DUTY_CYCLE", text, "a share of time from 0.01 to 1; 1 leaves no pause between chunks");
            DUTY_CYCLE
        }
    });
    PaceLimits {
        chunk_time: mistakes.duration("CHUNK_TIME", options.chunk_time.as_ref(), CHUNK_TIME, &chunk_time),
        max_chunk: max_chunk.unwrap_or(MAX_CHUNK),
        duty_cycle,
    }
}

/// Which process on which host, for the history.
fn instance() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").ok().map(|name| name.trim().to_owned());
    let host = host.or_else(|| std::env::var("HOSTNAME").ok()).unwrap_or_else(|| "unknown".to_owned());
    format!("{host}:{}", std::process::id())
}
