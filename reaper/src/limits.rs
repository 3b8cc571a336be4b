//! The limits that can change during a run.

use crate::pass::pace::PaceLimits;
use crate::throttle::ThrottleLimits;

/// The limits that can change during a run.
#[derive(Clone, Debug)]
pub struct Limits {
    /// The size of chunks and the idle time between them.
    pub pace: PaceLimits,
    /// The conditions under which a run waits, such as a lagging replica.
    pub throttle: ThrottleLimits,
}
