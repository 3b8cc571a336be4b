//! When a refusal is answered: not before a moment after the question has passed, whatever it is
//! for. What the stores did meanwhile (a row was there, its account was read, Redis knew already)
//! would else show in the time that it took.

use std::time::{Duration, Instant};

use futures_timer::Delay;

/// Many times what the look-ups behind a refusal take, so that it hides them on a busy machine,
/// too; less than anybody notices.
const AFTER: Duration = Duration::from_millis(3);

/// Waits until a question that came at `asked` may be answered with a refusal.
///
/// Not by tokio's clock, which ticks in milliseconds from when the thread has nothing left to do:
/// the answer would come whole milliseconds after what was to be hidden.
pub async fn wait(asked: Instant) {
    Delay::new((asked + AFTER).saturating_duration_since(Instant::now())).await;
}
