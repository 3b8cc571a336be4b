//! Durations as PostgreSQL intervals.

use std::time::Duration;

use diesel::pg::data_types::PgInterval;

/// Converts a duration, with a resolution of one microsecond.
pub(crate) fn interval(duration: Duration) -> PgInterval {
    PgInterval::from_microseconds(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX))
}
