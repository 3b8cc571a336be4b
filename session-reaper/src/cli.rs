//! The command line. Each option is a flag and an environment variable. Their values are taken as
//! they come: [`crate::config`] reads them, so that one message names every mistake.

#![allow(
    clippy::doc_markdown,
    reason = "these comments are the help on the terminal, where backticks only disturb"
)]

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

/// Deletes expired and revoked rows from PostgreSQL, in bounded chunks, gently, and says what it
/// did.
#[derive(Debug, Parser)]
#[command(
    version,
    propagate_version = true,
    after_help = "Examples:\n  session-reaper check --database-url postgres://session_reaper@db/app\n  \
                  session-reaper run --database-url postgres://session_reaper@db/app"
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Makes the reaper's own tables (reaper_runs, reaper_state), or brings them up to date
    ///
    /// It works without them, and keeps no history then. Twice in a row is as good as once.
    #[command(
        after_help = "Example:\n  session-reaper migrate --database-url postgres://owner@db/app"
    )]
    Migrate(#[command(flatten)] Common),
    /// Writes a reaper.toml with every key explained, to begin with
    ///
    /// It needs no database, and never overwrites a file. For a database that is there, see
    /// discover.
    #[command(after_help = "Examples:\n  session-reaper init --preset django\n  \
                            session-reaper init - --preset doorkeeper --preset connect-pg-simple")]
    Init(Init),
    /// Proposes a reaper.toml for a database, from what its catalog says; reads no table and
    /// changes nothing
    ///
    /// What is certain stands in it as it is, what is not is commented out with the reason. Ends
    /// with 0 also when nothing is found, 1 failed, 69 database unreachable, 78 bad
    /// configuration.
    #[command(
        after_help = "Examples:\n  session-reaper discover --database-url postgres://me@db/app > reaper.toml\n  \
                            session-reaper discover --output json | jq '.targets[] | select(.live) | .table'"
    )]
    Discover(Discover),
    /// Deletes what is due, once
    ///
    /// Ends with 0 when done (also when another reaper was at it), 1 failed, 2 usage, 3 partly done
    /// (a target failed, or a budget ran out with rows left), 65 unsafe, 69 database
    /// unreachable, 78 bad configuration, 130 or 143 stopped by a signal after finishing its
    /// chunk.
    #[command(
        after_help = "Examples:\n  session-reaper run --database-url postgres://session_reaper@db/app\n  \
                            session-reaper run --max-runtime 5m --output json | jq .outcome\n  \
                            session-reaper run --textfile /var/lib/node_exporter/session_reaper.prom"
    )]
    Run(Run),
    /// Says whether every target is safe to reap, and what to run where one is not
    ///
    /// Looks at tables, indexes, foreign keys, privileges, and the plans of the statements that a
    /// run uses. Changes nothing. Ends with 0 safe, 2 usage, 65 unsafe, 69 database
    /// unreachable, 78 bad configuration.
    #[command(
        after_help = "Examples:\n  session-reaper check --database-url postgres://session_reaper@db/app\n  \
                            session-reaper check --output json | jq '.targets[] | select(.safe | not)'"
    )]
    Check(Check),
    /// Shows what would go now, by target and reason, and deletes nothing
    ///
    /// Counts on the indexes, up to a cap, and says what a run would refuse. Ends with 0, 2 usage,
    /// 65 a target would be refused, 69 database unreachable, 78 bad configuration.
    #[command(
        after_help = "Examples:\n  session-reaper plan --database-url postgres://session_reaper@db/app\n  \
                            session-reaper plan --sql\n  session-reaper plan --output json | jq '.targets[].due'"
    )]
    Plan(Plan),
    /// Shows how things stand: the last runs, the backlog, what a run waits for, a pause, the next
    /// ticks
    ///
    /// Reads, and changes nothing. What cannot be read is said, and the rest is shown. Ends with 0
    /// when it could tell, whatever there was to be told (`health` in the JSON says that), 2
    /// usage, 69 database unreachable, 78 bad configuration.
    #[command(
        after_help = "Examples:\n  session-reaper status --database-url postgres://session_reaper@db/app\n  \
                            session-reaper status --watch 5s\n  session-reaper status --output json | jq -e '.health == \"ok\"'"
    )]
    Status(Status),
    /// Makes every reaper of this database wait for a while
    ///
    /// Kept in the database (reaper_state), so that all of them obey: a run under way waits after
    /// its chunk, one that begins waits before it looks at anything, each as long as
    /// MAX_THROTTLE allows. Instead of a pause that is set already. Ends with 0, 1 no
    /// table reaper_state, 69 database unreachable, 78 bad configuration.
    #[command(
        after_help = "Examples:\n  session-reaper pause --for 2h --why 'moving to another host'\n  \
                            session-reaper pause --for 30m --output json | jq .until"
    )]
    Pause(Pause),
    /// Ends a pause
    ///
    /// Whoever waits for it goes on within a second. Ends with 0 also when there was none.
    #[command(
        after_help = "Example:\n  session-reaper resume --database-url postgres://session_reaper@db/app"
    )]
    Resume(Resume),
    /// Deletes what is due on a schedule, and serves a status page, /status.json, /livez, /readyz
    /// and /metrics
    #[command(
        after_help = "Examples:\n  session-reaper daemon --schedule '*/15 * * * *' --jitter 2m\n  \
                            session-reaper daemon --schedule '30 2 * * *' --timezone Europe/Berlin"
    )]
    Daemon(Daemon),
    /// Prints what a shell needs to complete the names of commands and options
    #[command(
        after_help = "Examples:\n  session-reaper completions bash > /etc/bash_completion.d/session-reaper\n  \
                            session-reaper completions fish > ~/.config/fish/completions/session-reaper.fish"
    )]
    Completions {
        /// For which shell
        shell: Shell,
    },
    /// Writes manual pages into a directory, one for each command
    #[command(after_help = "Example:\n  session-reaper man /usr/local/share/man/man1")]
    Man {
        /// Where to; it is made if it is not there
        #[arg(value_name = "DIR")]
        directory: PathBuf,
    },
}

/// What every command needs.
#[derive(Clone, Debug, Default, Args)]
pub struct Common {
    /// The database: postgres://user:password@host/name?sslmode=verify-full
    #[arg(
        long,
        env = "DATABASE_URL",
        hide_env_values = true,
        value_name = "URL",
        // Not in the comment, where rustdoc would take it for a link.
        help = "The database: postgres://user:password@host/name?sslmode=verify-full [required]"
    )]
    pub database_url: Option<String>,
    /// A file that holds DATABASE_URL, instead of it
    #[arg(long, env = "DATABASE_URL_FILE", value_name = "FILE")]
    pub database_url_file: Option<String>,
    /// How logs look on standard error: text or json [default: text]
    #[arg(long, env = "LOG_FORMAT", value_name = "FORMAT")]
    pub log_format: Option<String>,
    /// What is logged: a level, or directives such as session_reaper=debug [default: warn; for
    /// daemon info]
    #[arg(long, env = "RUST_LOG", value_name = "FILTER")]
    pub log_filter: Option<String>,
}

/// How a run goes about it.
#[derive(Clone, Debug, Default, Args)]
pub struct RunOptions {
    /// What to reap [default: reaper.toml if there is one here, else the tables of auth-api in
    /// auth-api's database]
    #[arg(long, env = "REAPER_CONFIG", value_name = "FILE")]
    pub config: Option<String>,
    /// How long a chunk should take; its size follows [default: 5ms]
    #[arg(long, env = "CHUNK_TIME", value_name = "DURATION")]
    pub chunk_time: Option<String>,
    /// Rows in a chunk at the most [default: 5000]
    #[arg(long, env = "MAX_CHUNK", value_name = "ROWS")]
    pub max_chunk: Option<String>,
    /// The share of time to work in, over 0 up to 1; the rest is left to others [default: 0.03]
    #[arg(long, env = "DUTY_CYCLE", value_name = "SHARE")]
    pub duty_cycle: Option<String>,
    /// How far replicas may be behind before a run waits for them, or off [default: 10s]
    #[arg(long, env = "MAX_REPLICA_LAG", value_name = "DURATION")]
    pub max_replica_lag: Option<String>,
    /// The replicas that count, by application_name, with commas [default: all physical ones]
    #[arg(long, env = "REPLICAS", value_name = "NAMES")]
    pub replicas: Option<String>,
    /// A query that tells the lag in seconds, instead of pg_stat_replication
    #[arg(long, env = "REPLICA_LAG_QUERY", value_name = "SQL")]
    pub replica_lag_query: Option<String>,
    /// Client back ends at work, beyond which a run waits [default: any number]
    #[arg(long, env = "MAX_ACTIVE_BACKENDS", value_name = "COUNT")]
    pub max_active_backends: Option<String>,
    /// Whether a run waits for a vacuum of the table it works on: on or off [default: off]
    #[arg(long, env = "WAIT_FOR_VACUUM", value_name = "SWITCH")]
    pub wait_for_vacuum: Option<String>,
    /// A query; a run waits while it answers true, a number over 0, or a text
    #[arg(long, env = "THROTTLE_QUERY", value_name = "SQL")]
    pub throttle_query: Option<String>,
    /// How long a run may wait in a row, for a replica, a pause or what else stands in the way
    /// [default: 10m]
    #[arg(long, env = "MAX_THROTTLE", value_name = "DURATION")]
    pub max_throttle: Option<String>,
    /// How long a run may take [default: until nothing is left]
    #[arg(long, env = "MAX_RUNTIME", value_name = "DURATION")]
    pub max_runtime: Option<String>,
    /// How many rows a run may delete [default: all]
    #[arg(long, env = "MAX_ROWS", value_name = "ROWS")]
    pub max_rows: Option<String>,
    /// How long a chunk waits for a lock before it is given up and tried again [default: 50ms]
    #[arg(long, env = "LOCK_TIMEOUT", value_name = "DURATION")]
    pub lock_timeout: Option<String>,
    /// How long a chunk may take before it is given up and half of it tried [default: 5s]
    #[arg(long, env = "STATEMENT_TIMEOUT", value_name = "DURATION")]
    pub statement_timeout: Option<String>,
    /// Rows of a table that a statement may read from one end to the other [default: 10000]
    #[arg(long, env = "MAX_SCAN_ROWS", value_name = "ROWS")]
    pub max_scan_rows: Option<String>,
    /// The part of a table that its first run may delete without being asked for [default: 0.9]
    #[arg(long, env = "MAX_FRACTION", value_name = "SHARE")]
    pub max_fraction: Option<String>,
    /// How long to keep sessions that have expired [default: 1d]
    #[arg(long, env = "KEEP_EXPIRED", value_name = "DURATION")]
    pub keep_expired: Option<String>,
    /// How long to keep sessions that were revoked, at least 1h [default: 7d]
    #[arg(long, env = "KEEP_REVOKED", value_name = "DURATION")]
    pub keep_revoked: Option<String>,
    /// How long to keep login challenges after they expired, at least 10m [default: 10m]
    #[arg(long, env = "KEEP_CHALLENGES", value_name = "DURATION")]
    pub keep_challenges: Option<String>,
    /// How long to keep accounts that have no session and were not logged in to, at least 1h
    /// [default: for ever]
    #[arg(long, env = "KEEP_ACCOUNTS", value_name = "DURATION")]
    pub keep_accounts: Option<String>,
    /// How long to keep the history of runs [default: 30d]
    #[arg(long, env = "KEEP_RUNS", value_name = "DURATION")]
    pub keep_runs: Option<String>,
}

/// For commands that people and programs read.
#[derive(Clone, Debug, Default, Args)]
pub struct Printing {
    /// What to print on standard output: text or json [default: text]
    #[arg(long, env = "OUTPUT", value_name = "FORMAT")]
    pub output: Option<String>,
}

/// Where a run's numbers go when it is over. (A daemon is scraped: it takes none of these.)
#[derive(Clone, Debug, Default, Args)]
pub struct Exporting {
    /// A file for node_exporter's textfile collector, written when the run is over; daemon has
    /// none: it is scraped
    #[arg(long, env = "TEXTFILE", value_name = "FILE")]
    pub textfile: Option<String>,
    /// A Prometheus Pushgateway to push to when the run is over, http://user:password@host:9091; daemon has none: it is scraped
    #[arg(long, env = "PUSHGATEWAY", hide_env_values = true, value_name = "URL")]
    pub pushgateway: Option<String>,
}

/// Where spans go.
#[derive(Clone, Debug, Default, Args)]
pub struct Tracing {
    /// An OpenTelemetry collector to send spans of runs, targets and chunks to, http://host:4318 [default: none is sent]
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT", hide_env_values = true, value_name = "URL")]
    pub otlp_endpoint: Option<String>,
}

/// `run`
#[derive(Clone, Debug, Default, Args)]
pub struct Run {
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
    /// Reap targets that `check` calls unsafe for want of an index or a right, or because they are
    /// slow
    #[arg(long)]
    pub force_unsafe: bool,
    /// It is meant that nearly all of a table goes in its first run
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
    /// Show the statements, too
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
    /// Show it again and again, until it is interrupted [default: every 2s]
    #[arg(long, value_name = "INTERVAL", num_args = 0..=1, default_missing_value = "2s")]
    pub watch: Option<String>,
    /// How many of the last runs to show [default: 10]
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
    /// How long, from now on [default: 1h]
    #[arg(long = "for", value_name = "DURATION")]
    pub length: Option<String>,
    /// What for: everybody who looks why nothing goes is told
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
    /// What to write; - for standard output
    #[arg(value_name = "FILE", default_value = "reaper.toml")]
    pub file: String,
    /// A preset to put into it, may be given more than once [default: auth-api]
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
    /// When to run: five fields as in crontab(5), six with seconds in front, or @hourly and the
    /// like [default: */15 * * * *]
    #[arg(long, env = "SCHEDULE", value_name = "CRON")]
    pub schedule: Option<String>,
    /// The time zone of the schedule, by its IANA name [default: UTC]
    #[arg(long, env = "TIMEZONE", value_name = "ZONE")]
    pub timezone: Option<String>,
    /// A random wait of up to so long before each run, shorter than the schedule's shortest gap
    /// [default: 0s]
    #[arg(long, env = "JITTER", value_name = "DURATION")]
    pub jitter: Option<String>,
    /// Where to serve the status page, /livez, /readyz and /metrics [default: 127.0.0.1:9081]
    #[arg(long, env = "OPS_BIND", value_name = "ADDRESS")]
    pub ops_bind: Option<String>,
    /// Names, comma-separated, by which the operations port may be reached besides IP addresses
    /// and localhost; a request with another Host is refused [default: none]
    #[arg(long, env = "OPS_HOSTS", value_name = "NAMES")]
    pub ops_hosts: Option<String>,
    /// Reap targets that `check` calls unsafe for want of an index or a right, or because they are
    /// slow
    #[arg(long)]
    pub force_unsafe: bool,
}
