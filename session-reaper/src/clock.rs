//! This host's clock, in one place. It decides when a scheduled run starts and stamps metrics. What
//! is due is decided by the database's clock alone.

use chrono::{DateTime, Utc};

/// Now.
#[must_use]
pub fn now() -> DateTime<Utc> {
    Utc::now()
}

/// Now, as Prometheus wants it: seconds since 1970.
#[must_use]
pub fn timestamp() -> f64 {
    seconds_since_1970(now())
}

/// A time as Prometheus wants it.
#[must_use]
pub fn seconds_since_1970(time: DateTime<Utc>) -> f64 {
    time.signed_duration_since(DateTime::UNIX_EPOCH).as_seconds_f64()
}
