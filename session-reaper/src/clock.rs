//! The clock of this host. It determines when scheduled runs start, and the timestamps of metrics.
//! Only the clock of the database determines whether a row is due.

use chrono::{DateTime, Utc};

/// Returns the current time.
#[must_use]
pub fn now() -> DateTime<Utc> {
    Utc::now()
}

/// Returns the current time in seconds since 1970, for Prometheus.
#[must_use]
pub fn timestamp() -> f64 {
    seconds_since_1970(now())
}

/// Converts a time to seconds since 1970, for Prometheus.
#[must_use]
pub fn seconds_since_1970(time: DateTime<Utc>) -> f64 {
    time.signed_duration_since(DateTime::UNIX_EPOCH).as_seconds_f64()
}
