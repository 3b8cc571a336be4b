//! The *watermarks* that earlier runs of this process left: the due times before which no due rows
//! are left. A later run begins at a watermark, and therefore does not scan the dead index entries
//! of rows that earlier runs deleted.
//!
//! Deleted rows leave dead entries at the head of the index until a vacuum removes them, and no
//! vacuum can remove them while an older transaction is open. To find the first live row, the
//! server must then scan all dead entries, at 0.2 to 0.6 µs each. If a pass examined everything up
//! to its cutoff (the time before which rows are due) and left no due row, the cutoff becomes the
//! watermark, at which later passes begin. A due row can then be before the watermark only if it
//! was written later, with an older time. To find such rows, a watermark expires, and the next pass
//! begins at the start of the index.
//!
//! The number of blocks that were read, and not the time that was needed, determines whether a
//! watermark is recorded, so that a daemon behaves the same on fast and on slow machines.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::sql::held::Held;
use crate::sql::query::Text;

/// A watermark is recorded only if the server read at least this many blocks to find the first row.
/// An index block contains about 250 entries, and the server reads at least as many table blocks as
/// index blocks. The minimum therefore corresponds to about 60,000 dead entries, or 20 ms on a 3
/// GHz core.
const WORTH_KEEPING: u64 = 500;

/// How long a watermark is used. If a row is written with a time before the watermark, the first
/// run after this period finds the row. The scan that a watermark avoids takes at most
/// `STATEMENT_TIMEOUT`, which by default is less than a hundredth of this period.
const KEPT: Duration = Duration::from_mins(10);

/// If the deletion of a row has failed, passes do not try to delete the row again during this
/// period. After this period, some of these rows may have become deletable.
const HELD: Duration = Duration::from_hours(24);

/// Identifies a pass: the target's name, the table's oid, and the position of the reason in the
/// target.
pub(crate) type Key = (String, u32, usize);

/// The watermarks of a process. All clones share the same watermarks.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watermarks(Arc<Mutex<Marks>>);

#[derive(Debug, Default)]
struct Marks {
    /// The start time of the server to which the watermarks apply.
    server: String,
    reached: HashMap<Key, Reached>,
    /// The rows whose deletion fails, and the time from which a pass tries again to delete them.
    held: HashMap<Key, (Held, Instant)>,
}

#[derive(Clone, Debug)]
struct Reached {
    /// No due row is older than this time.
    cutoff: Text,
    /// When the watermark expires.
    until: Instant,
}

impl Watermarks {
    /// Returns the due time at which a pass may begin. Returns `None` if the pass has no watermark.
    pub(crate) fn from(&self, key: &Key, now: Instant) -> Option<Text> {
        let reached = &mut self.marks().reached;
        if reached.get(key).is_some_and(|reached| reached.until <= now) {
            reached.remove(key);
        }
        reached.get(key).map(|reached| reached.cutoff.clone())
    }

    /// Records that a pass examined everything before `cutoff` and left no due row. `blocks` is the
    /// number of blocks that the server read to find the first row from the start of the index;
    /// `None` if the number was not measured, for example because the pass began at a watermark.
    pub(crate) fn has_reached(&self, key: &Key, cutoff: &Text, blocks: Option<u64>, now: Instant) {
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

    /// Returns the rows whose deletion failed in an earlier pass.
    pub(crate) fn held(&self, key: &Key, now: Instant) -> Held {
        let held = &mut self.marks().held;
        if held.get(key).is_some_and(|(_, until)| *until <= now) {
            held.remove(key);
        }
        held.get(key).map(|(held, _)| held.clone()).unwrap_or_default()
    }

    /// Remembers the rows whose deletion fails, so that the next pass does not try to delete them
    /// again.
    pub(crate) fn keep_held(&self, key: &Key, held: &Held, now: Instant) {
        let known = &mut self.marks().held;
        if held.is_empty() {
            known.remove(key);
            return;
        }
        let until = known.get(key).map_or(now + HELD, |(_, until)| *until);
        known.insert(key.clone(), (held.clone(), until));
    }

    /// Removes the watermark of a pass that left due rows or was interrupted.
    pub(crate) fn forget(&self, key: &Key) {
        self.marks().reached.remove(key);
    }

    /// Removes all watermarks. After a failover or a crash, deleted rows may exist again.
    pub(crate) fn forget_all(&self) {
        self.marks().reached.clear();
    }

    /// Removes the watermarks and the rows whose deletion fails if they were recorded for a server
    /// with another start time than `server`.
    pub(crate) fn are_of(&self, server: &str) {
        let mut marks = self.marks();
        if marks.server != server {
            *marks = Marks { server: server.to_owned(), ..Marks::default() };
        }
    }

    /// Locks the watermarks. Poisoning is ignored, because the data is consistent even if a thread
    /// panicked while it held the lock.
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
            "the next run continued from there"
        );
        assert_eq!(watermarks.from(&key, later(600)), None, "and did not extend its lifetime");
        watermarks.has_reached(&key, &text("d"), Some(WORTH_KEEPING), start);
        watermarks.forget(&key);
        assert_eq!(watermarks.from(&key, start), None);
    }
}
