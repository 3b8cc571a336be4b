//! Refusals that are repeated: the first one is logged at once, those that follow as a sum in each
//! interval, so that whoever is refused a thousand times a second does not fill the log.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A sum is logged this often. Nothing for so long, and the next refusal is logged at once again.
pub const INTERVAL: Duration = Duration::from_secs(10);

/// Refusals that are told apart. Beyond that they are told apart by kind alone: a few hundred
/// kilobytes at the most.
const MOST: usize = 1000;

/// What is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A request that came too often.
    Limit {
        /// Which one.
        route: &'static str,
        /// By what it was counted.
        scope: &'static str,
    },
    /// Another service without credentials, or with wrong ones.
    Client {
        /// What it asked for.
        route: &'static str,
    },
    /// An access token or a cookie that is not accepted.
    Credential {
        /// Why not.
        reason: &'static str,
    },
    /// A connection of a network that has as many as it may have.
    Connection {
        /// Whether an older one was closed for it.
        reason: &'static str,
    },
}

/// Who was refused how often.
#[derive(Default)]
pub struct Repeats(Mutex<HashMap<Repeated, Occurrences>>);

/// Refusals of one kind; `who`: a network or a wallet, and empty for all that are not told apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Repeated {
    kind: Kind,
    who: String,
}

/// Refusals that are logged as one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sum {
    /// What was refused.
    pub kind: Kind,
    /// Whose it was, a network or a wallet. Nothing: of several.
    pub who: Option<String>,
    /// How often, besides what is logged already.
    pub times: u64,
    /// In which time.
    pub within: Duration,
}

/// When the last line of it was logged, and how many there were since.
struct Occurrences {
    logged: Instant,
    since: u64,
}

impl Repeats {
    /// Whether this refusal is to be logged now. Otherwise it is in the next sum.
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
        let seen = all.entry(repeated).or_insert_with(|| {
            first = true;
            Occurrences { logged: now, since: 0 }
        });
        seen.since += u64::from(!first);
        first
    }

    /// The sums whose interval is over, to be logged; to be called now and then.
    #[must_use]
    pub fn due(&self) -> Vec<Sum> {
        self.due_at(Instant::now(), INTERVAL)
    }

    /// All sums, to be logged: the process stops.
    #[must_use]
    pub fn all(&self) -> Vec<Sum> {
        self.due_at(Instant::now(), Duration::ZERO)
    }

    fn due_at(&self, now: Instant, interval: Duration) -> Vec<Sum> {
        let mut due = Vec::new();
        self.lock().retain(|repeated, seen| {
            let within = now.saturating_duration_since(seen.logged);
            if within < interval {
                return true;
            }
            let times = std::mem::take(&mut seen.since);
            seen.logged = now;
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

    /// The sums that are due: whose, and how many.
    fn due(repeats: &Repeats, now: Instant) -> Vec<(Option<String>, u64)> {
        let mut due: Vec<_> =
            repeats.due_at(now, INTERVAL).into_iter().map(|sum| (sum.who, sum.times)).collect();
        due.sort();
        due
    }

    #[test]
    fn the_first_is_logged_and_the_others_are_summed_up() {
        let (repeats, start) = (Repeats::default(), Instant::now());
        let first = |after: Duration, who: &str| repeats.is_first_at(start + after, KIND, who);
        assert!(first(Duration::ZERO, "a"));
        assert!((0..5).all(|second| !first(Duration::from_secs(second), "a")));
        assert!(first(Duration::from_secs(5), "b"), "each network has a first line");
        assert_eq!(due(&repeats, start + INTERVAL / 2), []);
        assert_eq!(due(&repeats, start + INTERVAL), [(Some("a".to_owned()), 5)]);
        // It goes on, so it is summed up from now on.
        assert!(!first(INTERVAL, "a"));
        assert_eq!(due(&repeats, start + 2 * INTERVAL), [(Some("a".to_owned()), 1)]);
        assert_eq!(due(&repeats, start + 3 * INTERVAL), []);
        assert!(first(3 * INTERVAL, "a"), "after an interval without one");
        assert!(first(3 * INTERVAL, "b"));
    }

    #[test]
    fn memory_has_an_end() {
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
