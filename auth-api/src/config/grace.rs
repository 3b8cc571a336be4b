//! Validation of `REFRESH_REUSE_GRACE`, the grace period during which a refresh can be retried with
//! the replaced token.

use std::time::Duration;

use super::DatabaseConfig;
use super::config_errors::ConfigErrors;
use crate::redis::RedisConfig;

/// The default of `REFRESH_REUSE_GRACE`. With default settings, the longest possible response time
/// is 13 s (2 s for a connection, 11 s for the queries, 50 ms for Redis). The default is this time
/// plus [`MARGIN`] and two seconds to spare.
pub(super) const DEFAULT: Duration = Duration::from_secs(30);

/// The maximum grace period. The use of a stolen token can go unnoticed for this long.
const LONGEST: Duration = Duration::from_mins(5);

/// The time that a client needs for a retry after the slowest response. The client waits for the
/// time in `Retry-After`, reconnects, perhaps over another network, and sends the request again.
const MARGIN: Duration = Duration::from_secs(15);

/// Checks that the grace period does not exceed [`LONGEST`]. This check does not depend on the
/// timeouts.
pub(super) fn check_longest(config_errors: &mut ConfigErrors, grace: Duration) {
    if grace > LONGEST {
        config_errors.note(
            "REFRESH_REUSE_GRACE",
            "must be at most 5m: a stolen token can go unnoticed for this long",
        );
    }
}

/// Checks that the grace period is zero, or longer than the longest possible response time by at
/// least [`MARGIN`]. After such a response time, the client receives a 503, although the rotation
/// may have been committed. With a shorter grace period, a client that then retries as instructed
/// would be treated as an attacker.
pub(super) fn check(
    config_errors: &mut ConfigErrors,
    grace: Duration,
    database: &DatabaseConfig,
    redis: &RedisConfig,
) {
    let (checkout, queries, limits) =
        (database.pool.checkout_timeout, database.query_bound(), redis.timeout);
    let needed = checkout + queries + limits + MARGIN;
    if !grace.is_zero() && grace < needed {
        let text = |duration| humantime::format_duration(duration).to_string().replace(' ', "");
        config_errors.note(
            "REFRESH_REUSE_GRACE",
            format_args!(
                "must be at least {} (got {}): 15s more than the slowest response, which takes DATABASE_CHECKOUT_TIMEOUT ({}), twice \
                 DATABASE_STATEMENT_TIMEOUT plus 1s ({}), and REDIS_TIMEOUT ({}); increase REFRESH_REUSE_GRACE, decrease these \
                 timeouts, or set REFRESH_REUSE_GRACE to 0s, with which a retry without the Idempotency-Key of the first attempt ends the session",
                text(needed),
                text(grace),
                text(checkout),
                text(queries),
                text(limits),
            ),
        );
    }
}
