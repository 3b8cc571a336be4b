//! How long a refresh may be repeated, and why not for less.

use std::time::Duration;

use super::config_errors::ConfigErrors;
use super::{DatabaseConfig, RedisConfig};

/// `REFRESH_REUSE_GRACE`. The longest answer takes 13 s by default (2 s for a connection, 11 s for
/// the queries, 50 ms for Redis): this is [`MARGIN`] and two seconds more.
pub(super) const DEFAULT: Duration = Duration::from_secs(30);

/// For that long a stolen token goes unnoticed.
const LONGEST: Duration = Duration::from_mins(5);

/// A client whose answer came too late waits for `Retry-After`, connects anew, perhaps over another
/// network, and sends again.
const MARGIN: Duration = Duration::from_secs(15);

/// Checks what holds whatever the timeouts are.
pub(super) fn check_longest(config_errors: &mut ConfigErrors, grace: Duration) {
    if grace > LONGEST {
        config_errors
            .note("REFRESH_REUSE_GRACE", "at most 5m: for that long a stolen token goes unnoticed");
    }
}

/// A rotation may have been committed although its client got a 503, after the longest time that an
/// answer takes. With a shorter grace the client that tries again, as it is told to, would be taken
/// for a thief.
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
                "must be at least {} (it is {}): 15s more than an answer may take, which is DATABASE_CHECKOUT_TIMEOUT ({}), twice \
                 DATABASE_STATEMENT_TIMEOUT and a second ({}), and REDIS_TIMEOUT ({}); raise it, lower those, or set it to 0s to \
                 accept no retries",
                text(needed),
                text(grace),
                text(checkout),
                text(queries),
                text(limits),
            ),
        );
    }
}
