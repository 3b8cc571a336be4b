//! How far earlier runs of this process came, so that a daemon does not walk over what they deleted
//! at each tick.
//!
//! Deleted rows leave dead entries at the head of the index until a vacuum removes them, and no
//! vacuum can while an older transaction is open. Finding the first live row then means walking
//! over all of them, at 0.2 to 0.6 µs each. A pass that examined everything up to its cutoff and
//! left nothing is a *watermark*: later passes begin there. Only rows that are written later with
//! an older time can lie before it, so every so often a pass begins at the start of the index.
//!
//! Whether a watermark is worth keeping is decided by blocks read and not by time taken, so that a
//! daemon behaves alike on a fast machine and on a slow one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::query::Text;

/// Blocks that the server has to read to find the first row before a watermark is kept. A block
/// holds some 250 entries of an index, and their rows lie on as many blocks again or more: this is
/// some 60,000 dead entries, or 20 ms of a 3 GHz core.
const WORTH_KEEPING: u64 = 500;

/// How long a watermark is used. A row that is written with a time before it is found this much
/// later at most. The walk that a watermark saves takes at most `STATEMENT_TIMEOUT`, by default
/// less than a hundredth of this time.
const KEPT: Duration = Duration::from_mins(10);

/// Which pass: of a target, on a table by its oid, for a reason by its place.
pub(super) type Key = (String, u32, usize);

/// What a process remembers of its runs. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Watermarks(Arc<Mutex<Marks>>);

#[derive(Debug, Default)]
struct Marks {
    /// When the server was started on which they are.
    server: String,
    reached: HashMap<Key, Reached>,
}

#[derive(Clone, Debug)]
struct Reached {
    /// Nothing that is due lies before it.
    cutoff: Text,
    /// When it is not to be relied on any more.
    until: Instant,
}

impl Watermarks {
    /// Where a pass may begin.
    pub(super) fn from(&self, key: &Key, now: Instant) -> Option<Text> {
        let reached = &mut self.marks().reached;
        if reached.get(key).is_some_and(|reached| reached.until <= now) {
            reached.remove(key);
        }
        reached.get(key).map(|reached| reached.cutoff.clone())
    }

    /// A pass examined everything before `cutoff` and left nothing. `blocks` is how many the server
    /// read to find the first row from the start of the index; `None` when that was not
    /// measured, because the pass began at a watermark, for instance.
    pub(super) fn has_reached(&self, key: &Key, cutoff: &Text, blocks: Option<u64>, now: Instant) {
        let reached = &mut self.marks().reached;
        match blocks {
            Some(blocks) if blocks >= WORTH_KEEPING => {
                let until = now + KEPT;
                reached.insert(key.clone(), Reached { cutoff: cutoff.clone(), until });
            }
            Some(_) => drop(reached.remove(key)),
            None => {
                if let Some(reached) = reached.get_mut(key) {
                    reached.cutoff = cutoff.clone();
                }
            }
        }
    }

    /// A pass left something, or was cut short.
    pub(super) fn forget(&self, key: &Key) {
        self.marks().reached.remove(key);
    }

    /// A server that has failed over, or crashed, may have rows again that were deleted.
    pub(super) fn forget_all(&self) {
        self.marks().reached.clear();
    }

    /// A run begins on the server that was started then.
    pub(super) fn are_of(&self, server: &str) {
        let mut marks = self.marks();
        if marks.server != server {
            *marks = Marks { server: server.to_owned(), reached: HashMap::new() };
        }
    }

    /// What a thread that panicked left there is still true.
    fn marks(&self) -> MutexGuard<'_, Marks> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn watermark_is_kept_for_many_blocks_and_ten_minutes() {
        let (watermarks, start) = (Watermarks::default(), Instant::now());
        let key = ("sessions".to_owned(), 1, 0);
        let text = |text: &str| Text(text.to_owned());
        let later = |seconds| start + Duration::from_secs(seconds);

        watermarks.has_reached(&key, &text("a"), Some(WORTH_KEEPING - 1), start);
        assert_eq!(watermarks.from(&key, start), None, "few blocks");
        watermarks.has_reached(&key, &text("b"), Some(WORTH_KEEPING), start);
        assert_eq!(watermarks.from(&key, later(599)), Some(text("b")));
        watermarks.has_reached(&key, &text("c"), None, later(300));
        assert_eq!(
            watermarks.from(&key, later(599)),
            Some(text("c")),
            "the next tick continued from there"
        );
        assert_eq!(watermarks.from(&key, later(600)), None, "and did not extend it");
        watermarks.has_reached(&key, &text("d"), Some(WORTH_KEEPING), start);
        watermarks.forget(&key);
        assert_eq!(watermarks.from(&key, start), None);
    }
}
