//! The command line. Each option is both a flag and an environment variable. clap accepts any text
//! as a value; [`crate::config`] parses the values, so that one message lists all errors.

#![allow(
    clippy::doc_markdown,
    reason = "these comments are help texts on the terminal, where backticks are noise"
)]

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

/// Delete expired and revoked rows from PostgreSQL in small, throttled chunks, and report the
/// result.
#[derive(Debug, Parser)]
#[command(
    version,
    propagate_version = true,
    after_help = "Examples:\n  session-reaper check --database-url postgres://session_reaper@db/app\n  \
                  session-reaper run --database-url postgres://session_reaper@db/app"
)]
pub struct Cli {
    /// Command to run.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Create or upgrade the reaper's own tables (reaper_runs, reaper_state)
    ///
    /// Optional: without these tables, no run history is kept. Safe to repeat.
    #[command(
        after_help = "Example:\n  session-reaper migrate --database-url postgres://owner@db/app"
    )]
    Migrate(#[command(flatten)] Common),
    /// Write a starter reaper.toml that explains every key
    ///
    /// Needs no database, and never overwrites a file. For an existing database, use the discover
    /// command.
    #[command(after_help = "Examples:\n  session-reaper init --preset django\n  \
                            session-reaper init - --preset doorkeeper --preset connect-pg-simple")]
    Init(Init),
    /// Propose a reaper.toml for a database from its catalog and small samples, without changing
    /// anything
    ///
    /// Targets about which there is no doubt are ready to use. All others are commented out, with
    /// the reason.
    #[command(after_help = "Exit codes:\n  \
                            0   Completed, even if nothing was found\n  \
                            1   Failed\n  \
                            2   Invalid usage\n  \
                            69  Database unreachable\n  \
                            78  Invalid configuration\n\n\
                            Examples:\n  session-reaper discover --database-url postgres://me@db/app > reaper.toml\n  \
                            session-reaper discover --output json | jq '.targets[] | select(.live) | .table'")]
    Discover(Discover),
    /// Delete, once, the rows whose retention time is over
    #[command(after_help = "Exit codes:\n  \
                            0    Completed, or another reaper holds the lock\n  \
                            1    Failed\n  \
                            2    Invalid usage\n  \
                            3    Partly completed: a target failed or is unsafe, and another was processed\n  \
                            65   Nothing was processed: all targets are unsafe, or the server is, for example as a replica\n  \
                            69   Database unreachable\n  \
                            75   Unfinished: a limit was reached or the run was throttled, with due rows left\n  \
                            78   Invalid configuration\n  \
                            130  Stopped by SIGINT after the current chunk\n  \
                            143  Stopped by SIGTERM after the current chunk\n\n\
                            Examples:\n  session-reaper run --database-url postgres://session_reaper@db/app\n  \
                            session-reaper run --max-runtime 5m --output json | jq .outcome\n  \
                            session-reaper run --textfile /var/lib/node_exporter/session_reaper.prom")]
    Run(Run),
    /// Check whether every target is safe to reap, and show how to fix unsafe targets
    ///
    /// Examines tables, indexes, foreign keys, privileges and the query plans that a run would use.
    /// Changes nothing.
    #[command(after_help = "Exit codes:\n  \
                            0   All targets are safe\n  \
                            2   Invalid usage\n  \
                            65  A target or the server is unsafe\n  \
                            69  Database unreachable\n  \
                            78  Invalid configuration\n\n\
                            Examples:\n  session-reaper check --database-url postgres://session_reaper@db/app\n  \
                            session-reaper check --output json | jq '.targets[] | select(.safe | not)'")]
    Check(Check),
    /// Show the rows that a run would delete now, by target and by the reason why the rows are due,
    /// without deleting them
    ///
    /// Counts due rows by scanning the indexes, up to a limit, and shows which targets a run would
    /// skip.
    #[command(after_help = "Exit codes:\n  \
                            0   Completed\n  \
                            2   Invalid usage\n  \
                            65  A run would skip a target\n  \
                            69  Database unreachable\n  \
                            78  Invalid configuration\n\n\
                            Examples:\n  session-reaper plan --database-url postgres://session_reaper@db/app\n  \
                            session-reaper plan --sql\n  session-reaper plan --output json | jq '.targets[].due'")]
    Plan(Plan),
    /// Show the status: recent runs, the backlog, throttling, a pause and the next scheduled runs
    ///
    /// Changes nothing. If some data cannot be read, a note explains why and the rest is shown. The
    /// exit code does not depend on the health of the reaper. To test the health, read the field
    /// "health" in the JSON output.
    #[command(after_help = "Exit codes:\n  \
                            0   The status was read\n  \
                            2   Invalid usage\n  \
                            69  Database unreachable\n  \
                            78  Invalid configuration\n\n\
                            Examples:\n  session-reaper status --database-url postgres://session_reaper@db/app\n  \
                            session-reaper status --watch 5s\n  session-reaper status --output json | jq -e '.health == \"ok\"'")]
    Status(Status),
    /// Pause every reaper of this database for a limited time
    ///
    /// The pause is stored in the database (reaper_state) and applies to all reapers. An active run
    /// waits after its current chunk; a new run waits before it reads anything. Each run waits at
    /// most MAX_THROTTLE. A new pause replaces the existing one.
    #[command(after_help = "Exit codes:\n  \
                            0   The pause is set\n  \
                            1   The table reaper_state is missing or not writable\n  \
                            2   Invalid usage\n  \
                            65  The reaper's tables are unsafe to use\n  \
                            69  Database unreachable\n  \
                            78  Invalid configuration\n\n\
                            Examples:\n  session-reaper pause --for 2h --why 'moving to another host'\n  \
                            session-reaper pause --for 30m --output json | jq .until")]
    Pause(Pause),
    /// End a pause
    ///
    /// Waiting runs resume within a second.
    #[command(after_help = "Exit codes:\n  \
                            0   No pause is set, whether or not one was set before\n  \
                            1   The table reaper_state is missing or not writable\n  \
                            2   Invalid usage\n  \
                            65  The reaper's tables are unsafe to use\n  \
                            69  Database unreachable\n  \
                            78  Invalid configuration\n\n\
                            Example:\n  session-reaper resume --database-url postgres://session_reaper@db/app")]
    Resume(Resume),
    /// Delete the rows whose retention time is over, on a schedule, and serve a status page,
    /// /status.json, /livez, /readyz and /metrics
    #[command(
        after_help = "Examples:\n  session-reaper daemon --schedule '*/15 * * * *' --jitter 2m\n  \
                            session-reaper daemon --schedule '30 2 * * *' --timezone Europe/Berlin"
    )]
    Daemon(Daemon),
    /// Show the settings that a daemon would use, one per line
    ///
    /// Reads the same options, variables and files as the daemon command, and does not connect to
    /// the database. Secrets are not shown. A KEEP_* setting is empty if the target whose rows it
    /// keeps is not enabled. If reaper.toml defines the targets, all KEEP_* settings except
    /// KEEP_RUNS are empty.
    #[command(after_help = "Exit codes:\n  \
                            0   Completed\n  \
                            2   Invalid usage\n  \
                            78  Invalid configuration\n\n\
                            Example:\n  session-reaper config --duty-cycle 0.1 | grep -E 'DUTY|CHUNK'")]
    Config(Daemon),
    /// Print a shell script that completes commands and options
    #[command(
        after_help = "Examples:\n  session-reaper completions bash > /etc/bash_completion.d/session-reaper\n  \
                            session-reaper completions fish > ~/.config/fish/completions/session-reaper.fish"
    )]
    Completions {
        /// Shell to generate the script for
        shell: Shell,
    },
    /// Write manual pages to a directory, one per command
    #[command(after_help = "Example:\n  session-reaper man /usr/local/share/man/man1")]
    Man {
        /// Directory to write to; created if it does not exist
        #[arg(value_name = "DIR")]
        directory: PathBuf,
    },
}

/// Options of the commands that use a database.
#[derive(Clone, Debug, Default, Args)]
pub struct Common {
    /// Database URL: postgres://user:password@host/name?sslmode=verify-full
    #[arg(
        long,
        env = "DATABASE_URL",
        hide_env_values = true,
        value_name = "URL",
        // "[required]" is not in the comment: rustdoc would parse it as a link.
        help = "Database URL: postgres://user:password@host/name?sslmode=verify-full [required]"
    )]
    pub database_url: Option<String>,
    /// File that contains the database URL; cannot be combined with DATABASE_URL
    #[arg(long, env = "DATABASE_URL_FILE", value_name = "FILE")]
    pub database_url_file: Option<String>,
    /// Format of the logs on standard error: text or json [default: text]
    #[arg(long, env = "LOG_FORMAT", value_name = "FORMAT")]
    pub log_format: Option<String>,
    /// Log filter: a level, or directives such as session_reaper=debug [default: warn; info for
    /// daemon]
    #[arg(long, env = "RUST_LOG", value_name = "FILTER")]
    pub log_filter: Option<String>,
}

/// Targets, pace, limits and throttles of a run.
#[derive(Clone, Debug, Default, Args)]
pub struct RunOptions {
    /// File that lists the targets: the tables to delete from, and which of their rows [default:
    /// reaper.toml in the current directory; if it does not exist and the database belongs to
    /// auth-api, the tables of auth-api]
    #[arg(long, env = "REAPER_CONFIG", value_name = "FILE")]
    pub config: Option<String>,
    /// Desired duration of a chunk (the rows that are deleted in one transaction); the chunk size
    /// adapts to it [default: 5ms]
    #[arg(long, env = "CHUNK_TIME", value_name = "DURATION")]
    pub chunk_time: Option<String>,
    /// Maximum number of rows in a chunk [default: 5000]
    #[arg(long, env = "MAX_CHUNK", value_name = "ROWS")]
    pub max_chunk: Option<String>,
    /// Fraction of the time to spend deleting, from 0.01 to 1; the reaper is idle for the remainder
    /// [default: 0.03]
    #[arg(long, env = "DUTY_CYCLE", value_name = "SHARE")]
    pub duty_cycle: Option<String>,
    /// Replication lag above which a run waits; off disables this check [default: 10s]
    #[arg(long, env = "MAX_REPLICA_LAG", value_name = "DURATION")]
    pub max_replica_lag: Option<String>,
    /// Replicas to monitor, as comma-separated application_name values [default: all physical
    /// replicas]
    #[arg(long, env = "REPLICAS", value_name = "NAMES")]
    pub replicas: Option<String>,
    /// Query that returns the replication lag in seconds; used instead of pg_stat_replication
    #[arg(long, env = "REPLICA_LAG_QUERY", value_name = "SQL")]
    pub replica_lag_query: Option<String>,
    /// Number of active client backends above which a run waits [default: no limit]
    #[arg(long, env = "MAX_ACTIVE_BACKENDS", value_name = "COUNT")]
    pub max_active_backends: Option<String>,
    /// Whether a run waits while its current table is vacuumed: on or off [default: off]
    #[arg(long, env = "WAIT_FOR_VACUUM", value_name = "SWITCH")]
    pub wait_for_vacuum: Option<String>,
    /// Query that throttles a run while it returns true, a number greater than 0, or a
    /// non-empty string
    #[arg(long, env = "THROTTLE_QUERY", value_name = "SQL")]
    pub throttle_query: Option<String>,
    /// Maximum time that a run waits without interruption because of a replica, a pause or another
    /// throttle [default: 10m]
    #[arg(long, env = "MAX_THROTTLE", value_name = "DURATION")]
    pub max_throttle: Option<String>,
    /// Maximum duration of a run [default: until no due rows are left]
    #[arg(long, env = "MAX_RUNTIME", value_name = "DURATION")]
    pub max_runtime: Option<String>,
    /// Maximum number of rows that a run deletes [default: all]
    #[arg(long, env = "MAX_ROWS", value_name = "ROWS")]
    pub max_rows: Option<String>,
    /// Time that a chunk waits for a lock before the chunk is canceled and retried [default: 50ms]
    #[arg(long, env = "LOCK_TIMEOUT", value_name = "DURATION")]
    pub lock_timeout: Option<String>,
    /// Maximum duration of a chunk; a slower chunk is canceled and retried at half the size
    /// [default: 5s]
    #[arg(long, env = "STATEMENT_TIMEOUT", value_name = "DURATION")]
    pub statement_timeout: Option<String>,
    /// Maximum size, in rows, of a table that a statement may scan sequentially [default: 10000]
    #[arg(long, env = "MAX_SCAN_ROWS", value_name = "ROWS")]
    pub max_scan_rows: Option<String>,
    /// Fraction of a table that the first run on it may delete without confirmation [default: 0.9]
    #[arg(long, env = "MAX_FRACTION", value_name = "SHARE")]
    pub max_fraction: Option<String>,
    /// How long to keep expired sessions [default: 1d]
    #[arg(long, env = "KEEP_EXPIRED", value_name = "DURATION")]
    pub keep_expired: Option<String>,
    /// How long to keep revoked sessions, at least 1h [default: 7d]
    #[arg(long, env = "KEEP_REVOKED", value_name = "DURATION")]
    pub keep_revoked: Option<String>,
    /// How long to keep expired login challenges, at least 10m [default: 10m]
    #[arg(long, env = "KEEP_CHALLENGES", value_name = "DURATION")]
    pub keep_challenges: Option<String>,
    /// How long to keep accounts that have no sessions, counted from the last login, at least 1h
    /// [default: forever]
    #[arg(long, env = "KEEP_ACCOUNTS", value_name = "DURATION")]
    pub keep_accounts: Option<String>,
    /// How long to keep the run history [default: 30d]
    #[arg(long, env = "KEEP_RUNS", value_name = "DURATION")]
    pub keep_runs: Option<String>,
}

/// Options of commands that print results for people or programs.
#[derive(Clone, Debug, Default, Args)]
pub struct Printing {
    /// Format of standard output: text or json [default: text]
    #[arg(long, env = "OUTPUT", value_name = "FORMAT")]
    pub output: Option<String>,
}

/// The destinations of the metrics of a run. A daemon does not have these options, because
/// Prometheus scrapes the daemon.
#[derive(Clone, Debug, Default, Args)]
pub struct Exporting {
    /// File for node_exporter's textfile collector, written when the run ends. Only for the run
    /// command; a daemon exposes /metrics instead
    #[arg(long, env = "TEXTFILE", value_name = "FILE")]
    pub textfile: Option<String>,
    /// URL of the Prometheus Pushgateway to which metrics are pushed when the run ends, such as
    /// http://user:password@host:9091. Only for the run command; a daemon exposes /metrics instead
    #[arg(long, env = "PUSHGATEWAY", hide_env_values = true, value_name = "URL")]
    pub pushgateway: Option<String>,
}

/// The destination of tracing spans.
#[derive(Clone, Debug, Default, Args)]
pub struct Tracing {
    /// URL of the OpenTelemetry collector that receives spans of runs, targets and chunks, such as
    /// http://host:4318 [default: spans are not sent]
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT", hide_env_values = true, value_name = "URL")]
    pub otlp_endpoint: Option<String>,
}

/// `run`
#[derive(Clone, Debug, Default, Args)]
pub struct Run {
    /// Exit with 0 instead of 75 if a run is unfinished, for schedulers that report every code
    /// except 0 as a failure: 1 or 0 [default: 0]
    #[arg(long, env = "UNFINISHED_IS_OK", value_name = "0|1")]
    pub unfinished_is_ok: Option<String>,
    /// What started the run, for the history: manual or schedule [default: schedule in a systemd
    /// service, otherwise manual]
    #[arg(long, env = "TRIGGER", value_name = "TRIGGER")]
    pub trigger: Option<String>,
    #[command(flatten)]
    #[allow(missing_docs, reason = "a comment here would replace the command's own help")]
    pub common: Common,
    #[command(flatten)]
    #[allow(missing_docs, reason = "as above")]
    pub run_options: RunOptions,
    #[command(flatten)]
    #[allow(missing_docs, reason = "as above")]
    pub printing: Printing,
    #[command(flatten)]
    #[allow(missing_docs, reason = "as above")]
    pub exporting: Exporting,
    #[command(flatten)]
    #[allow(missing_docs, reason = "as above")]
    pub tracing: Tracing,
    /// Also reap targets that the check command reports as unsafe because an index or a privilege
    /// is missing or because their statements would be slow
    #[arg(long)]
    pub force_unsafe: bool,
    /// Confirm that this run may delete nearly all rows of a table
    #[arg(long)]
    pub yes: bool,
}

/// `plan`
#[derive(Clone, Debug, Default, Args)]
pub struct Plan {
    #[command(flatten)]
    #[allow(missing_docs, reason = "a comment here would replace the command's own help")]
    pub common: Common,
    #[command(flatten)]
    #[allow(missing_docs, reason = "as above")]
    pub run_options: RunOptions,
    #[command(flatten)]
    #[allow(missing_docs, reason = "as above")]
    pub printing: Printing,
    /// Also show the SQL statements
    #[arg(long)]
    pub sql: bool,
}

/// `status`
#[derive(Clone, Debug, Default, Args)]
pub struct Status {
    #[command(flatten)]
    #[allow(missing_docs, reason = "a comment here would replace the command's own help")]
    pub common: Common,
    #[command(flatten)]
    #[allow(missing_docs, reason = "as above")]
    pub run_options: RunOptions,
    #[command(flatten)]
    #[allow(missing_docs, reason = "as above")]
    pub printing: Printing,
    /// Refresh at this interval until interrupted; 2s if no interval is given
    #[arg(long, value_name = "INTERVAL", num_args = 0..=1, default_missing_value = "2s")]
    pub watch: Option<String>,
    /// Report if no run has succeeded for this long. By default, the schedule of the daemon
    /// determines when a run is expected
    #[arg(long, value_name = "DURATION")]
    pub interval: Option<String>,
    /// Number of recent runs to show [default: 10]
    #[arg(long, value_name = "RUNS")]
    pub last: Option<String>,
}

/// `check`
#[derive(Clone, Debug, Default, Args)]
pub struct Check {
    #[command(flatten)]
    #[allow(missing_docs, reason = "a comment here would replace the command's own help")]
    pub common: Common,
    #[command(flatten)]
    #[allow(missing_docs, reason = "as above")]
    pub run_options: RunOptions,
    #[command(flatten)]
    #[allow(missing_docs, reason = "as above")]
    pub printing: Printing,
}

/// `discover`
#[derive(Clone, Debug, Default, Args)]
pub struct Discover {
    #[command(flatten)]
    #[allow(missing_docs, reason = "a comment here would replace the command's own help")]
    pub common: Common,
    #[command(flatten)]
    #[allow(missing_docs, reason = "as above")]
    pub printing: Printing,
}

/// `pause`
#[derive(Clone, Debug, Default, Args)]
pub struct Pause {
    #[command(flatten)]
    #[allow(missing_docs, reason = "a comment here would replace the command's own help")]
    pub common: Common,
    #[command(flatten)]
    #[allow(missing_docs, reason = "as above")]
    pub printing: Printing,
    /// Duration of the pause from now [default: 1h]
    #[arg(long = "for", value_name = "DURATION")]
    pub length: Option<String>,
    /// Reason for the pause, shown wherever the pause is reported
    #[arg(long, value_name = "TEXT")]
    pub why: Option<String>,
}

/// `resume`
#[derive(Clone, Debug, Default, Args)]
pub struct Resume {
    #[command(flatten)]
    #[allow(missing_docs, reason = "a comment here would replace the command's own help")]
    pub common: Common,
    #[command(flatten)]
    #[allow(missing_docs, reason = "as above")]
    pub printing: Printing,
}

/// `init`
#[derive(Clone, Debug, Default, Args)]
pub struct Init {
    /// File to write; - for standard output
    #[arg(value_name = "FILE", default_value = "reaper.toml")]
    pub file: String,
    /// Built-in targets for a known application or framework, such as django; may be repeated
    /// [default: auth-api]
    #[arg(long, value_name = "NAME")]
    pub preset: Vec<String>,
}

/// `daemon`
#[derive(Clone, Debug, Default, Args)]
pub struct Daemon {
    #[command(flatten)]
    #[allow(missing_docs, reason = "a comment here would replace the command's own help")]
    pub common: Common,
    #[command(flatten)]
    #[allow(missing_docs, reason = "as above")]
    pub run_options: RunOptions,
    #[command(flatten)]
    #[allow(missing_docs, reason = "as above")]
    pub tracing: Tracing,
    /// When to run: five crontab(5) fields, six with a leading seconds field, or a nickname such as
    /// @hourly [default: */15 * * * *]
    #[arg(long, env = "SCHEDULE", value_name = "CRON")]
    pub schedule: Option<String>,
    /// IANA time zone of the schedule [default: UTC]
    #[arg(long, env = "TIMEZONE", value_name = "ZONE")]
    pub timezone: Option<String>,
    /// Maximum random delay before each run; must be shorter than the shortest interval of the
    /// schedule [default: 0s]
    #[arg(long, env = "JITTER", value_name = "DURATION")]
    pub jitter: Option<String>,
    /// Address on which to serve the status page, /livez, /readyz and /metrics [default:
    /// 127.0.0.1:9081]
    #[arg(long, env = "OPS_BIND", value_name = "ADDRESS")]
    pub ops_bind: Option<String>,
    /// Comma-separated host names accepted in the Host header of requests to OPS_BIND, in addition
    /// to IP addresses and localhost; requests with any other Host are rejected [default: none]
    #[arg(long, env = "OPS_HOSTS", value_name = "NAMES")]
    pub ops_hosts: Option<String>,
    /// Also reap targets that the check command reports as unsafe because an index or a privilege
    /// is missing or because their statements would be slow
    #[arg(long)]
    pub force_unsafe: bool,
}
