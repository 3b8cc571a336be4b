//! The chunk sizes that earlier passes found suitable. A chunk is the set of rows that one
//! transaction deletes. With a known size, a pass on a small table need not begin with the smallest
//! chunks. The sizes are also stored in `reaper_state`, for processes that perform only one run.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use pg::error_text::chain;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::connection::auxiliary::AuxiliaryConnection;
use crate::pass::pace::Pace;
use crate::store::state;
use crate::target::Order;

/// How long a size remains valid. This is longer than the interval of a nightly schedule.
const KEPT: Duration = Duration::from_hours(36);

/// The number of chunks after which the size that a pass has found is reliable.
const ENOUGH: u64 = 4;

/// A pass on the same table begins with the known size divided by this number, because rows may
/// have become more expensive.
const SAME: u32 = 2;

/// A pass on another table begins with the smallest known size divided by this number.
const OTHER: u32 = 4;

/// Identifies passes whose rows have similar costs: the target's name, the index of the reason, and
/// the scan order.
pub(crate) type Key = (String, usize, Order);

/// The key in `reaper_state`.
const STATE: &str = "chunk_sizes";

/// The maximum number of sizes that are stored.
const STORED: usize = 500;

/// The sizes that passes have found. All clones share the same sizes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Paces(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    sizes: HashMap<Key, Size>,
    /// Whether the stored sizes have been read.
    read: bool,
    /// Whether a size was found that is not stored yet.
    changed: bool,
}

/// A size, and when it was found.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Size {
    rows: u32,
    at: DateTime<Utc>,
}

impl Size {
    fn is_fresh(&self, now: DateTime<Utc>) -> bool {
        now.signed_duration_since(self.at).to_std().is_ok_and(|age| age < KEPT)
    }
}

/// A size as it is stored.
#[derive(Serialize, Deserialize)]
struct Stored {
    target: String,
    reason: usize,
    order: Order,
    #[serde(flatten)]
    size: Size,
}

impl Paces {
    /// Returns the size of the first chunk of a pass, or `None` if no size is known. If `simple` is
    /// `true`, the sizes of other targets may be used, too: the target has neither children nor a
    /// condition, so its rows cost about as much as those of other targets.
    pub(crate) fn first_size(&self, key: &Key, simple: bool, now: DateTime<Utc>) -> Option<u32> {
        let known = self.known();
        if let Some(size) = known.sizes.get(key).filter(|size| size.is_fresh(now)) {
            return Some(size.rows / SAME);
        }
        let others = known
            .sizes
            .iter()
            .filter(|((_, _, order), size)| *order == key.2 && size.is_fresh(now));
        let smallest = others.map(|(_, size)| size.rows).min()?;
        simple.then_some(smallest / OTHER)
    }

    /// Records the chunk size that a pass has found, if the pass had enough chunks. `chunks` is the
    /// number of its chunks.
    pub(crate) fn keep(&self, key: &Key, pace: &Pace, chunks: u64, now: DateTime<Utc>) {
        if chunks >= ENOUGH {
            let mut known = self.known();
            known.sizes.insert(key.clone(), Size { rows: pace.fitted(), at: now });
            known.changed = true;
        }
    }

    /// Reads the stored sizes, once in each process. A stored size does not replace a size that
    /// this process has found.
    pub(crate) async fn read(&self, auxiliary: &AuxiliaryConnection) {
        if std::mem::replace(&mut self.known().read, true) {
            return;
        }
        let read = state::get(&auxiliary.client, &auxiliary.own, STATE);
        let stored = match auxiliary.deadline.with(1, read).await {
            Ok(stored) => stored.and_then(|stored| serde_json::from_value(stored).ok()),
            Err(error) => {
                tracing::debug!(
                    event = "state_read_failed",
                    error = chain(&error),
                    "reaper_state not read"
                );
                None
            }
        };
        let stored: Vec<Stored> = stored.unwrap_or_default();
        let mut known = self.known();
        for Stored { target, reason, order, size } in stored {
            known.sizes.entry((target, reason, order)).or_insert(size);
        }
    }

    /// Stores the sizes if this process has found any since it last stored them.
    pub(crate) async fn store(&self, auxiliary: &AuxiliaryConnection, now: DateTime<Utc>) {
        if auxiliary.deadline.is_over() {
            return;
        }
        let mut stored: Vec<Stored> = {
            let mut known = self.known();
            if !std::mem::take(&mut known.changed) {
                return;
            }
            let fresh = known.sizes.iter().filter(|(_, size)| size.is_fresh(now));
            fresh
                .map(|((target, reason, order), size)| Stored {
                    target: target.clone(),
                    reason: *reason,
                    order: *order,
                    size: *size,
                })
                .collect()
        };
        stored.sort_by_key(|stored| std::cmp::Reverse(stored.size.at));
        stored.truncate(STORED);
        let value = json!(stored);
        let put = state::put(&auxiliary.client, &auxiliary.own, STATE, &value);
        if let Err(error) = auxiliary.deadline.with(1, put).await {
            tracing::debug!(
                event = "state_write_failed",
                error = chain(&error),
                "reaper_state not written"
            );
        }
    }

    /// Locks the sizes. Poisoning is ignored, because the data is consistent even if a thread
    /// panicked while it held the lock.
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pass::pace::PaceLimits;

    #[test]
    fn first_size_follows_from_earlier_passes() {
        let (paces, now) = (Paces::default(), Utc::now());
        let key = |target: &str| (target.to_owned(), 0, Order::Index);
        assert_eq!(paces.first_size(&key("a"), true, now), None);

        let mut pace = Pace::new(PaceLimits { duty_cycle: 1.0, ..PaceLimits::default() });
        for _ in 0..20 {
            pace.chunk_done(u64::from(pace.size()), Duration::from_micros(10) * pace.size());
        }
        paces.keep(&key("a"), &pace, ENOUGH - 1, now);
        assert_eq!(paces.first_size(&key("a"), true, now), None, "too few chunks");
        paces.keep(&key("a"), &pace, ENOUGH, now);
        assert_eq!(paces.first_size(&key("a"), false, now), Some(pace.fitted() / SAME));
        assert_eq!(paces.first_size(&key("b"), true, now), Some(pace.fitted() / OTHER));
        assert_eq!(paces.first_size(&key("b"), false, now), None, "rows may cost more");
        let heap = ("a".to_owned(), 0, Order::Heap);
        assert_eq!(paces.first_size(&heap, true, now), None, "counted in blocks");
        assert_eq!(paces.first_size(&key("a"), true, now + KEPT), None, "too old");
    }
}
