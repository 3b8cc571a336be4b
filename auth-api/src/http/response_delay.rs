//! Delays rejections so that they are sent no sooner than a fixed time after the request arrived.
//! Without the delay, the response time would show what the lookups found: whether a row exists,
//! whether its account was read, or whether Redis had the answer.

use std::time::{Duration, Instant};

use futures_timer::Delay;

/// The minimum time from the arrival of a request to its rejection. It is several times longer than
/// the lookups that precede a rejection, so it hides the duration of the lookups even on a busy
/// machine. It is too short for a person to notice.
const MINIMUM: Duration = Duration::from_millis(3);

/// Waits until the minimum delay has passed since `arrived`, the time at which the request arrived.
///
/// Tokio's timer is not precise enough: it counts whole milliseconds from the moment at which the
/// thread becomes idle, so the response time would still depend on when the lookups finished.
pub async fn wait(arrived: Instant) {
    Delay::new((arrived + MINIMUM).saturating_duration_since(Instant::now())).await;
}
