//! Durations as PostgreSQL takes them.

use std::time::Duration;

use diesel::pg::data_types::PgInterval;

/// A duration to the microsecond.
pub(crate) fn interval(duration: Duration) -> PgInterval {
    PgInterval::from_microseconds(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX))
}
