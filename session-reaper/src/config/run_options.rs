//! How a run goes about it: bounds, pace, budgets, and what is safe.

use std::time::Duration;

use super::common::database;
use super::values::{ConfigErrors, DurationRange, given};
use super::{HOUR, LONGEST_KEEP, MINUTE, target_source, throttle};
use crate::cli::{Common, RunOptions};
use crate::sweep::{BudgetLimits, FirstRun, PaceLimits, Rules, StatementBounds, Sweep, Watermarks};

/// Half of what a request may wait for without its user noticing, and far below PostgreSQL's
/// `deadlock_timeout` of one second: should we and a request ever wait for each other, we are the
/// ones who give way.
const LOCK_TIMEOUT: Duration = Duration::from_millis(50);

/// Hundreds of times what a chunk aims at. A chunk that takes longer holds its rows for too long.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(5);

/// A few thousand rows of ours. Chunks of 2 ms spend half of it on what every chunk costs
/// (docs/decisions/0006).
const CHUNK_TIME: Duration = Duration::from_millis(5);

/// Beyond it chunks get longer and not faster: 500 to 720 thousand rows a second from 5,000 to
/// 50,000.
const MAX_CHUNK: u32 = 5_000;

/// About 20,000 rows a second where they are as large as ours, which is more than any application
/// logs in. So few of the transactions beside it meet a chunk that their 99th percentile hardly
/// moves (docs/decisions/0006).
const DUTY_CYCLE: f64 = 0.03;

/// Some megabytes, which are read in milliseconds.
const MAX_SCAN_ROWS: u64 = 10_000;

/// A table of sessions that has not been reaped for long has mostly dead ones; one of which nearly
/// all would go looks like a wrong column.
const MAX_FRACTION: f64 = 0.9;

/// What somebody said on the command line, and nowhere else, so that it is not left standing.
#[derive(Clone, Copy, Default)]
pub(super) struct Consent {
    pub(super) force_unsafe: bool,
    pub(super) yes: bool,
}

pub(super) fn sweep(
    common: &Common,
    options: &RunOptions,
    consent: Consent,
    config_errors: &mut ConfigErrors,
) -> Option<Sweep> {
    let connect = database(common, config_errors);
    let bounds = bounds(options, config_errors);
    let pace = pace(options, bounds, config_errors);
    let throttle = throttle::limits(options, config_errors);
    let any = DurationRange {
        least: Duration::from_secs(1),
        most: LONGEST_KEEP,
        because: "a run that may take no time does nothing",
    };
    let runtime = options.max_runtime.as_ref();
    let budget = BudgetLimits {
        runtime: given(runtime).map(|_| config_errors.duration("MAX_RUNTIME", runtime, HOUR, &any)),
        rows: config_errors.whole(
            "MAX_ROWS",
            options.max_rows.as_ref(),
            1..=u64::MAX >> 1,
            "leave it out for all rows",
        ),
    };
    let scan = config_errors.whole(
        "MAX_SCAN_ROWS",
        options.max_scan_rows.as_ref(),
        0..=u64::MAX >> 1,
        "a table of more rows is not read from one end to the other",
    );
    let preflight =
        Rules { max_scan_rows: scan.unwrap_or(MAX_SCAN_ROWS), force_unsafe: consent.force_unsafe };
    let max_fraction = given(options.max_fraction.as_ref()).map_or(MAX_FRACTION, |text| match text
        .parse::<f64>(
    ) {
        Ok(share) if (0.0..=1.0).contains(&share) => share,
        _ => {
            config_errors.add(
                "MAX_FRACTION",
                text,
                "a part of a table from 0 to 1; 1 lets all of it go without a word",
            );
            MAX_FRACTION
        }
    });
    let first_run = FirstRun { max_fraction, confirmed: consent.yes };
    let target_source = target_source::read(options, config_errors);
    Some(Sweep {
        connect: connect?,
        targets: target_source.targets,
        only_auth_api: target_source.built_in,
        pace,
        throttle,
        budget,
        bounds,
        preflight,
        first_run,
        watermarks: Watermarks::default(),
        instance: instance(),
    })
}

fn bounds(options: &RunOptions, config_errors: &mut ConfigErrors) -> StatementBounds {
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
        statement: config_errors.duration(
            "STATEMENT_TIMEOUT",
            options.statement_timeout.as_ref(),
            STATEMENT_TIMEOUT,
            &statement,
        ),
        lock: config_errors.duration(
            "LOCK_TIMEOUT",
            options.lock_timeout.as_ref(),
            LOCK_TIMEOUT,
            &lock,
        ),
    }
}

fn pace(
    options: &RunOptions,
    bounds: StatementBounds,
    config_errors: &mut ConfigErrors,
) -> PaceLimits {
    let chunk_time = DurationRange {
        least: Duration::from_millis(1),
        most: bounds.statement / 2,
        because: "a chunk has to fit into STATEMENT_TIMEOUT with room to spare",
    };
    let max_chunk = config_errors
        .whole(
            "MAX_CHUNK",
            options.max_chunk.as_ref(),
            1..=100_000,
            "larger chunks are longer and no faster",
        )
        .and_then(|rows| u32::try_from(rows).ok());
    let duty_cycle =
        given(options.duty_cycle.as_ref()).map_or(DUTY_CYCLE, |text| match text.parse::<f64>() {
            Ok(share) if (0.01..=1.0).contains(&share) => share,
            _ => {
                config_errors.add(
                    "DUTY_CYCLE",
                    text,
                    "a share of time from 0.01 to 1; 1 leaves no pause between chunks",
                );
                DUTY_CYCLE
            }
        });
    PaceLimits {
        chunk_time: config_errors.duration(
            "CHUNK_TIME",
            options.chunk_time.as_ref(),
            CHUNK_TIME,
            &chunk_time,
        ),
        max_chunk: max_chunk.unwrap_or(MAX_CHUNK),
        duty_cycle,
    }
}

/// Which process on which host, for the history.
pub(super) fn instance() -> String {
    format!("{}:{}", host(), std::process::id())
}

/// This machine's name.
pub(super) fn host() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname")
        .ok()
        .map(|name| name.trim().to_owned());
    host.or_else(|| std::env::var("HOSTNAME").ok()).unwrap_or_else(|| "unknown".to_owned())
}
