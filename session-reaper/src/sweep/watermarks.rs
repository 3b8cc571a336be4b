//! How far earlier runs of this process came, so that a daemon does not walk over what they deleted at each tick.
//!
//! Deleted rows leave dead entries at the head of the index until a vacuum has been there, and while some old transaction is
//! open no vacuum takes them away. To come to the first row that is still there takes walking over all of them: 0.2 to 0.6 µs each.
//! A pass that examined everything up to its cutoff and left nothing need not be begun before it again, but for rows that
//! were written later with an older time. So it is begun at the beginning again after a while: the longer, the dearer that was.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::sql::Text;

/// Beginnings that took less are not worth being remembered.
const DEAR: Duration = Duration::from_millis(20);

/// So many times what it took to come to the first row goes by before that is done again: it takes a hundredth of the time.
const TIMES: u32 = 100;

/// At the latest.
const LATEST: Duration = Duration::from_hours(1);

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

    /// A pass examined everything before `cutoff` and left nothing. `beginning` is how long it took to come to the first row, when
    /// it was begun at the beginning.
    pub(super) fn has_reached(&self, key: &Key, cutoff: &Text, beginning: Option<Duration>, now: Instant) {
        let reached = &mut self.marks().reached;
        match beginning {
            Some(took) if took >= DEAR => {
                let until = now + (took * TIMES).min(LATEST);
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
    fn a_dear_beginning_is_made_again_after_a_hundred_times_as_long_and_within_the_hour() {
        let (watermarks, start) = (Watermarks::default(), Instant::now());
        let key = ("sessions".to_owned(), 1, 0);
        let text = |text: &str| Text(text.to_owned());
        let ms = Duration::from_millis;

        watermarks.has_reached(&key, &text("a"), Some(ms(19)), start);
        assert_eq!(watermarks.from(&key, start), None, "cheap");
        watermarks.has_reached(&key, &text("b"), Some(ms(250)), start);
        assert_eq!(watermarks.from(&key, start + ms(24_999)), Some(text("b")));
        watermarks.has_reached(&key, &text("c"), None, start + ms(20_000));
        assert_eq!(watermarks.from(&key, start + ms(24_999)), Some(text("c")), "the next tick went on from there");
        assert_eq!(watermarks.from(&key, start + ms(25_000)), None);
        watermarks.has_reached(&key, &text("d"), Some(ms(600_000)), start);
        assert_eq!(watermarks.from(&key, start + LATEST), None);
        watermarks.has_reached(&key, &text("e"), Some(ms(250)), start);
        watermarks.forget(&key);
        assert_eq!(watermarks.from(&key, start), None);
    }
}
