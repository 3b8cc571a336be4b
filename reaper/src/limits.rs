//! The limits that can change during a run.

use crate::pass::pace::PaceLimits;
use crate::throttle::ThrottleLimits;

/// The limits that can change during a run.
#[derive(Clone, Debug)]
pub struct Limits {
    /// The pace.
    pub pace: PaceLimits,
    /// The throttles.
    pub throttle: ThrottleLimits,
}
