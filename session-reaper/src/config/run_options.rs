//! Options of a run: timeouts, the size of transactions and the idle time between them, limits of
//! the run, and safety limits.

use std::sync::Arc;
use std::time::Duration;

use super::common::database;
use super::file_settings::{self, Overridden};
use super::values::{ConfigErrors, DurationRange, given};
use super::{HOUR, LONGEST_KEEP, MINUTE, target_source, throttle};
use crate::cli::{Common, RunOptions};
use crate::observer::ProcessObserver;
use reaper::defaults::{
    CHUNK_TIME, DUTY_CYCLE, LOCK_TIMEOUT, MAX_CHUNK, MAX_FRACTION, MAX_SCAN_ROWS, STATEMENT_TIMEOUT,
};
use reaper::{BudgetLimits, FirstRun, PaceLimits, Remembered, Rules, StatementBounds, Sweep};

/// Confirmations. They can be given only as flags and not as environment variables, so that they do
/// not become permanent.
#[derive(Clone, Copy, Default)]
pub(super) struct Consent {
    pub(super) force_unsafe: bool,
    pub(super) yes: bool,
}

/// The settings of a run, and the settings in the file that a flag or a variable overrides.
pub(super) struct Loaded {
    pub(super) sweep: Sweep,
    pub(super) overridden: Vec<Overridden>,
}

pub(super) fn sweep(
    common: &Common,
    options: &RunOptions,
    consent: Consent,
    config_errors: &mut ConfigErrors,
) -> Option<Sweep> {
    load(common, options, consent, config_errors).map(|loaded| loaded.sweep)
}

pub(super) fn load(
    common: &Common,
    options: &RunOptions,
    consent: Consent,
    config_errors: &mut ConfigErrors,
) -> Option<Loaded> {
    let connect = database(common, config_errors);
    let file = target_source::open(options);
    let (completed, overridden) = match &file.text {
        Ok(text) => file_settings::complete(options, (file.name, text), config_errors),
        Err(_) => (options.clone(), Vec::new()),
    };
    let options = &completed;
    let bounds = bounds(options, config_errors);
    let pace = pace(options, bounds, config_errors);
    let throttle = throttle::limits(options, config_errors);
    let any = DurationRange {
        least: Duration::from_secs(1),
        most: LONGEST_KEEP,
        because: "a shorter run cannot delete anything",
    };
    let runtime = options.max_runtime.as_ref();
    let budget = BudgetLimits {
        runtime: given(runtime).map(|_| config_errors.duration("MAX_RUNTIME", runtime, HOUR, &any)),
        rows: config_errors.whole(
            "MAX_ROWS",
            options.max_rows.as_ref(),
            1..=u64::MAX >> 1,
            "leave it unset to delete all due rows",
        ),
    };
    let scan = config_errors.whole(
        "MAX_SCAN_ROWS",
        options.max_scan_rows.as_ref(),
        0..=u64::MAX >> 1,
        "larger tables are not scanned sequentially",
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
                "must be a fraction from 0 to 1; with 1 the first run may delete a whole table without confirmation",
            );
            MAX_FRACTION
        }
    });
    let first_run = FirstRun { max_fraction, confirmed: consent.yes };
    let target_source = target_source::read(options, file, config_errors);
    let sweep = Sweep {
        connect: connect?,
        targets: target_source.targets,
        only_auth_api: target_source.built_in,
        pace,
        throttle,
        budget,
        bounds,
        preflight,
        first_run,
        remembered: Remembered::default(),
        reloads: None,
        instance: instance(),
        observer: Arc::new(ProcessObserver),
    };
    Some(Loaded { sweep, overridden })
}

fn bounds(options: &RunOptions, config_errors: &mut ConfigErrors) -> StatementBounds {
    let statement = DurationRange {
        least: Duration::from_millis(100),
        most: HOUR,
        because: "a chunk locks its rows and normally takes milliseconds",
    };
    let lock = DurationRange {
        least: Duration::from_millis(1),
        most: MINUTE,
        because: "other sessions may queue behind a chunk that waits for a lock",
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
        because: "it must be at most half of STATEMENT_TIMEOUT",
    };
    let max_chunk = config_errors
        .whole(
            "MAX_CHUNK",
            options.max_chunk.as_ref(),
            1..=100_000,
            "larger chunks take longer without a higher throughput",
        )
        .and_then(|rows| u32::try_from(rows).ok());
    let duty_cycle =
        given(options.duty_cycle.as_ref()).map_or(DUTY_CYCLE, |text| match text.parse::<f64>() {
            Ok(share) if (0.01..=1.0).contains(&share) => share,
            _ => {
                config_errors.add(
                    "DUTY_CYCLE",
                    text,
                    "must be a fraction from 0.01 to 1; with 1 there is no rest between chunks",
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

/// Returns the host name and the process ID, for the run history.
pub(super) fn instance() -> String {
    format!("{}:{}", host(), std::process::id())
}

/// Returns the host name.
pub(super) fn host() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname")
        .ok()
        .map(|name| name.trim().to_owned());
    host.or_else(|| std::env::var("HOSTNAME").ok()).unwrap_or_else(|| "unknown".to_owned())
}
