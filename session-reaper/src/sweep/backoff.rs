//! How long to stand back before something is tried again: longer each time, and by chance, so that
//! two that get in each other's way do not meet again at once.

use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBuilder};

/// How often a chunk is tried again that somebody's lock, or a conflict, stopped.
pub(super) const CHUNK_TRIES: usize = 12;

/// 8 to 17 seconds in all: a lock on the table that is held for some seconds (a migration's) is
/// waited out, one that is held for longer is left alone until the next run.
pub(super) fn of_a_chunk() -> impl Iterator<Item = Duration> + Send {
    exponential(Duration::from_millis(50), Duration::from_secs(1), CHUNK_TRIES)
}

/// How often a lost connection is made again.
pub(super) const CONNECTION_TRIES: usize = 8;

/// 25 to 50 seconds in all, and the time that each try takes: a server restarts, or fails over, in
/// that.
pub(super) fn of_a_connection() -> impl Iterator<Item = Duration> + Send {
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
    fn it_stands_back_longer_each_time_and_has_an_end() {
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
