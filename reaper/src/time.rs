//! Conversions of times and numbers, for reports and metrics.

use std::time::Duration;

/// SQL for the current time of the server, in microseconds since 1970.
pub(crate) const MICROSECONDS: &str = "(EXTRACT(epoch FROM pg_catalog.clock_timestamp()) OPERATOR(pg_catalog.*) 1000000)::pg_catalog.int8";

use chrono::{DateTime, SecondsFormat, Utc};

/// Formats a time as in all reports and logs: in UTC, to the second.
#[must_use]
pub fn text(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// Converts seconds since 1970. Returns `None` if the date is out of range.
#[must_use]
pub fn from_seconds(seconds: f64) -> Option<DateTime<Utc>> {
    #[allow(
        clippy::cast_possible_truncation,
        reason = "`as` saturates; a value out of range is not a date"
    )]
    let micros = (seconds * 1e6) as i64;
    DateTime::from_timestamp_micros(micros)
}

/// Converts a duration to milliseconds.
#[must_use]
pub fn milliseconds(elapsed: Duration) -> u64 {
    u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
}

/// Converts a count to a float.
#[allow(clippy::cast_precision_loss, reason = "counts of rows stay far below 2^53")]
#[must_use]
pub fn as_f64(count: u64) -> f64 {
    count as f64
}
