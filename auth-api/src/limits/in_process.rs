use governor::clock::{Clock as _, DefaultClock};
use governor::middleware::StateInformationMiddleware;
use governor::nanos::Nanos;
use governor::state::StateStore;
use governor::state::keyed::{HashMapStateStore, ShrinkableKeyedStateStore};
use governor::{Quota as GovernorQuota, RateLimiter};

use super::quota::{Left, Quota};

/// Counts requests in this process only. If there are several processes, a client can use the whole
/// quota in each of them.
pub(super) struct InProcess {
    limiter: RateLimiter<String, Bounded, DefaultClock, StateInformationMiddleware>,
    quota: Quota,
}

/// The counters of at most [`MOST_KEYS`] clients. They use about six megabytes for each policy (one
/// quota of a route). If a new client would exceed the maximum, all counters are dropped. Every
/// client then has its full quota again, which is better than unbounded memory.
struct Bounded(HashMapStateStore<String>);

const MOST_KEYS: usize = 50_000;

impl InProcess {
    pub(super) fn new(quota: Quota) -> Self {
        let requests = quota.requests();
        let each = GovernorQuota::with_period(quota.share())
            .unwrap_or(GovernorQuota::per_second(requests));
        let states = Bounded(HashMapStateStore::default());
        let limiter = RateLimiter::new(each.allow_burst(requests), states, DefaultClock::default());
        Self { limiter, quota }
    }

    /// Counts a request. Returns `Err` if the quota is used up.
    pub(super) fn count(&self, key: &str) -> Result<Left, Left> {
        match self.limiter.check_key(&key.to_owned()) {
            // `one_more` is an upper bound, because the governor library does not report how much
            // of the current share of the period has passed.
            Ok(state) => Ok(Left {
                requests: state.remaining_burst_capacity().into(),
                one_more: self.quota.share(),
            }),
            Err(until) => Err(Left {
                requests: 0,
                one_more: until.wait_time_from(self.limiter.clock().now()),
            }),
        }
    }

    /// Drops the counters of clients whose whole quota is available again.
    pub(super) fn forget_the_rested(&self) {
        self.limiter.retain_recent();
        self.limiter.shrink_to_fit();
    }
}

impl StateStore for Bounded {
    type Key = String;

    fn measure_and_replace<T, F, E>(&self, key: &String, measure: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let mut states = self.0.lock();
        if states.len() >= MOST_KEYS && !states.contains_key(key) {
            states.clear();
        }
        drop(states);
        self.0.measure_and_replace(key, measure)
    }
}

impl ShrinkableKeyedStateStore<String> for Bounded {
    fn retain_recent(&self, drop_below: Nanos) {
        self.0.retain_recent(drop_below);
    }

    fn shrink_to_fit(&self) {
        self.0.shrink_to_fit();
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_bounded() {
        let counted = InProcess::new(Quota::parse("1/1h").unwrap());
        assert!(counted.count("first").is_ok());
        assert!(counted.count("first").is_err());
        for key in 1..MOST_KEYS {
            assert!(counted.count(&key.to_string()).is_ok());
        }
        assert_eq!(counted.limiter.len(), MOST_KEYS);
        assert!(counted.count("first").is_err(), "no state has been dropped yet");
        assert!(counted.count("one too many").is_ok());
        assert_eq!(counted.limiter.len(), 1);
    }

    #[test]
    fn clients_with_a_full_quota_are_forgotten() {
        let counted = InProcess::new(Quota::parse("1000000/1s").unwrap());
        assert!(counted.count("a").is_ok());
        while !counted.limiter.is_empty() {
            counted.forget_the_rested();
        }
    }
}
