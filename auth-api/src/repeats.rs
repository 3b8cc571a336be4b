//! Counts repeated rejections, so that a client that is rejected a thousand times per second does
//! not fill the log. The first rejection of a kind is logged immediately. Further rejections of
//! this kind are only counted, and a single line with their number (a *sum*) is logged at the end
//! of each interval.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The interval at which sums are logged. If an interval passes without a rejection of a kind, the
/// next rejection of this kind is logged immediately again.
pub const INTERVAL: Duration = Duration::from_secs(10);

/// Maximum number of combinations of kind and sender that are counted separately. If there are
/// more, rejections are distinguished only by kind. This limits memory to a few hundred kilobytes.
const MOST: usize = 1000;

/// The kind of a rejection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A request that exceeded a rate limit.
    Limit {
        /// Route of the request.
        route: &'static str,
        /// The property by which the limit counts requests, such as their network.
        scope: &'static str,
    },
    /// A request from another service with missing or wrong client credentials.
    Client {
        /// Route of the request.
        route: &'static str,
    },
    /// An access token or a cookie.
    Credential {
        /// Why the credential was not accepted.
        reason: &'static str,
    },
    /// A connection from a network that had reached its maximum number of connections.
    Connection {
        /// What was done: an older connection was closed to make room, or the new one was rejected.
        reason: &'static str,
    },
}

/// The number of rejections by kind and sender.
#[derive(Default)]
pub struct Repeats(Mutex<HashMap<Repeated, Occurrences>>);

/// Identifies rejections that are counted together. `who` is a network or a wallet, or empty if
/// senders are not distinguished.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Repeated {
    kind: Kind,
    who: String,
}

/// A number of rejections that are logged as one event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sum {
    /// The kind of the rejections.
    pub kind: Kind,
    /// The network or wallet that was rejected; `None` if there were several.
    pub who: Option<String>,
    /// The number of rejections that have not been logged yet.
    pub times: u64,
    /// The period in which the rejections occurred.
    pub within: Duration,
}

/// The time at which rejections of one kind and sender were last logged, and their number since
/// then.
struct Occurrences {
    logged: Instant,
    since: u64,
}

impl Repeats {
    /// Returns `true` if this rejection must be logged now. Otherwise, the next sum includes it.
    #[must_use]
    pub fn is_first(&self, kind: Kind, who: &str) -> bool {
        self.is_first_at(Instant::now(), kind, who)
    }

    fn is_first_at(&self, now: Instant, kind: Kind, who: &str) -> bool {
        let mut all = self.lock();
        let mut repeated = Repeated { kind, who: who.to_owned() };
        if all.len() >= MOST && !all.contains_key(&repeated) {
            repeated.who.clear();
        }
        let mut first = false;
        let occurrences = all.entry(repeated).or_insert_with(|| {
            first = true;
            Occurrences { logged: now, since: 0 }
        });
        occurrences.since += u64::from(!first);
        first
    }

    /// Returns the sums whose interval has ended, so that they can be logged. Must be called
    /// regularly.
    #[must_use]
    pub fn due(&self) -> Vec<Sum> {
        self.due_at(Instant::now(), INTERVAL)
    }

    /// Returns all sums, so that they can be logged at shutdown.
    #[must_use]
    pub fn all(&self) -> Vec<Sum> {
        self.due_at(Instant::now(), Duration::ZERO)
    }

    fn due_at(&self, now: Instant, interval: Duration) -> Vec<Sum> {
        let mut due = Vec::new();
        self.lock().retain(|repeated, occurrences| {
            let within = now.saturating_duration_since(occurrences.logged);
            if within < interval {
                return true;
            }
            let times = std::mem::take(&mut occurrences.since);
            occurrences.logged = now;
            if times > 0 {
                let Repeated { kind, who } = repeated.clone();
                due.push(Sum { kind, who: Some(who).filter(|who| !who.is_empty()), times, within });
            }
            times > 0
        });
        due
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Repeated, Occurrences>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIND: Kind = Kind::Client { route: "/oauth/introspect" };

    /// Returns the sender and the number of rejections of each sum that is due.
    fn due(repeats: &Repeats, now: Instant) -> Vec<(Option<String>, u64)> {
        let mut due: Vec<_> =
            repeats.due_at(now, INTERVAL).into_iter().map(|sum| (sum.who, sum.times)).collect();
        due.sort();
        due
    }

    #[test]
    fn first_rejection_is_logged_and_later_ones_are_summed() {
        let (repeats, start) = (Repeats::default(), Instant::now());
        let first = |after: Duration, who: &str| repeats.is_first_at(start + after, KIND, who);
        assert!(first(Duration::ZERO, "a"));
        assert!((0..5).all(|second| !first(Duration::from_secs(second), "a")));
        assert!(
            first(Duration::from_secs(5), "b"),
            "the first rejection of each network is logged"
        );
        assert_eq!(due(&repeats, start + INTERVAL / 2), []);
        assert_eq!(due(&repeats, start + INTERVAL), [(Some("a".to_owned()), 5)]);
        // The rejections continue, so they are summed.
        assert!(!first(INTERVAL, "a"));
        assert_eq!(due(&repeats, start + 2 * INTERVAL), [(Some("a".to_owned()), 1)]);
        assert_eq!(due(&repeats, start + 3 * INTERVAL), []);
        assert!(first(3 * INTERVAL, "a"), "logged after an interval without a rejection");
        assert!(first(3 * INTERVAL, "b"));
    }

    #[test]
    fn number_of_sums_is_bounded() {
        let (repeats, start) = (Repeats::default(), Instant::now());
        for who in 0..MOST {
            assert!(repeats.is_first_at(start, KIND, &who.to_string()));
        }
        assert!(repeats.is_first_at(start, KIND, "one too many"));
        assert!(!repeats.is_first_at(start, KIND, "another"));
        assert!(!repeats.is_first_at(start, KIND, "0"));
        assert_eq!(due(&repeats, start + INTERVAL), [(None, 1), (Some("0".to_owned()), 1)]);
        assert_eq!(repeats.lock().len(), 2);
    }
}
