//! Delays rejections so that they are sent no sooner than a fixed time after the request arrived.
//! Without the delay, the response time would reveal what the lookups found, for example whether a
//! session exists.

use std::time::{Duration, Instant};

use futures_timer::Delay;

/// The minimum time from the arrival of a request to its rejection. The lookups that precede a
/// rejection take only a fraction of this time, so the delay hides their duration even on a busy
/// machine. The delay is too short for a person to notice.
const MINIMUM: Duration = Duration::from_millis(3);

/// Waits until the minimum delay has passed since `arrived`, the time at which the request arrived.
///
/// Tokio's timer is not used, because it counts whole milliseconds from the moment at which the
/// thread becomes idle. The response time would then still depend on when the lookups finished.
pub async fn wait(arrived: Instant) {
    Delay::new((arrived + MINIMUM).saturating_duration_since(Instant::now())).await;
}
