//! The delays between retries. They grow exponentially and have a random part (jitter), so that two
//! processes that conflict do not retry at the same time.

use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBuilder};

/// The number of retries of a chunk (the transaction that deletes rows) that fails because of a
/// lock or a conflict.
pub(crate) const CHUNK_TRIES: usize = 12;

/// Returns the delays between the attempts at a chunk, 8 to 17 seconds in total. Most locks on a
/// table, such as the lock of a migration, are held for only a few seconds. If a lock is held for
/// longer, the target fails, and the next run tries again.
pub(crate) fn of_a_chunk() -> impl Iterator<Item = Duration> + Send {
    exponential(Duration::from_millis(50), Duration::from_secs(1), CHUNK_TRIES)
}

/// The number of attempts to replace a lost connection.
pub(crate) const CONNECTION_TRIES: usize = 8;

/// Returns the delays between the attempts to reconnect, 25 to 50 seconds in total, not including
/// the attempts themselves. A server can restart or fail over in this time.
pub(crate) fn of_a_connection() -> impl Iterator<Item = Duration> + Send {
    exponential(Duration::from_millis(200), Duration::from_secs(8), CONNECTION_TRIES)
}

fn exponential(
    first: Duration,
    longest: Duration,
    tries: usize,
) -> impl Iterator<Item = Duration> + Send {
    let builder = ExponentialBuilder::default().with_factor(2.0).with_jitter();
    builder.with_min_delay(first).with_max_delay(longest).with_max_times(tries).build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_is_bounded_in_tries_and_time() {
        for _ in 0..100 {
            let times: Vec<Duration> = of_a_chunk().collect();
            assert_eq!(times.len(), CHUNK_TRIES);
            assert!(times.iter().all(|time| *time <= Duration::from_secs(2)), "{times:?}");
            let all: Duration = times.iter().sum();
            assert!((Duration::from_secs(8)..Duration::from_secs(18)).contains(&all), "{all:?}");
            let all: Duration = of_a_connection().sum();
            assert!((Duration::from_secs(20)..Duration::from_mins(1)).contains(&all), "{all:?}");
        }
    }
}
