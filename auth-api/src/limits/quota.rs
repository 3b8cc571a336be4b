use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

/// A number of requests in a period, such as 60 requests per minute. A client may send all of them
/// at once. After that, one more request is allowed each time one share of the period has passed:
/// in the example, one request per second. The algorithm is GCRA, a leaky bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    requests: NonZeroU32,
    period: Duration,
}

/// The text is not a valid quota.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected a quota such as 60/1m: 1 to 1000000 requests in a period of whole seconds, at most 1h"
)]
pub struct InvalidQuota;

/// The part of a quota that is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Left {
    /// The number of requests that would be allowed now.
    pub(super) requests: u64,
    /// The time until one more request is allowed.
    pub(super) one_more: Duration,
}

/// The maximum period.
const LONGEST: Duration = Duration::from_hours(1);

impl Quota {
    /// Parses a quota such as `60/1m`.
    pub fn parse(text: &str) -> Result<Self, InvalidQuota> {
        let (requests, period) = text.split_once('/').ok_or(InvalidQuota)?;
        let requests = requests.parse().ok().and_then(NonZeroU32::new).ok_or(InvalidQuota)?;
        let period = humantime::parse_duration(period).map_err(|_| InvalidQuota)?;
        // The period appears in a header in whole seconds, and counts are kept for one period.
        let sensible = !period.is_zero()
            && period.subsec_nanos() == 0
            && period <= LONGEST
            && requests.get() <= 1_000_000;
        sensible.then_some(Self { requests, period }).ok_or(InvalidQuota)
    }

    /// Returns a quota with `factor` times as many requests in the same period. The result allows
    /// at most one request per microsecond, because times are measured in microseconds.
    pub(super) fn times(self, factor: u32) -> Self {
        let most = u32::try_from(self.period.as_micros())
            .ok()
            .and_then(NonZeroU32::new)
            .unwrap_or(NonZeroU32::MAX);
        let factor = NonZeroU32::new(factor).unwrap_or(NonZeroU32::MIN);
        Self { requests: self.requests.saturating_mul(factor).min(most), ..self }
    }

    /// Returns the number of requests.
    pub(super) fn requests(self) -> NonZeroU32 {
        self.requests
    }

    /// Returns the period in seconds.
    pub(super) fn seconds(self) -> u64 {
        self.period.as_secs()
    }

    /// Returns the share of the period that one request uses: the period divided by the number of
    /// requests, in whole microseconds.
    pub(super) fn share(self) -> Duration {
        Duration::from_micros(self.share_us())
    }

    /// Returns the maximum debt of a client, in microseconds. The debt measures how much of the
    /// quota the client has used. Each request increases it by one share of the period, and it
    /// decreases as time passes. When the debt reaches the maximum, the quota is used up.
    pub(super) fn limit_us(self) -> u64 {
        self.share_us() * u64::from(self.requests.get())
    }

    /// Returns the share of one request, in microseconds.
    pub(super) fn share_us(self) -> u64 {
        self.period.as_secs() * 1_000_000 / u64::from(self.requests.get())
    }

    /// Returns what is left of the quota for a client with a debt of `debt_us` microseconds.
    pub(super) fn left(self, debt_us: u64) -> Left {
        let (share, free) = (self.share_us(), self.limit_us().saturating_sub(debt_us));
        Left { requests: free / share, one_more: Duration::from_micros(share - free % share) }
    }
}

impl fmt::Display for Quota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}/{}",
            self.requests,
            humantime::format_duration(self.period).to_string().replace(' ', "")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_valid_quotas_are_parsed() {
        for text in [
            "",
            "60",
            "60/",
            "/1m",
            "0/1m",
            "-1/1m",
            "60/0s",
            "60/500ms",
            "60/2h",
            "1000001/1m",
            "60/1m/1m",
        ] {
            assert_eq!(Quota::parse(text), Err(InvalidQuota), "{text}");
        }
        assert_eq!(Quota::parse("60/1m").unwrap().to_string(), "60/1m");
        assert_eq!(Quota::parse("1000000/1s").unwrap().share(), Duration::from_micros(1));
        assert_eq!(Quota::parse("1000000/1s").unwrap().times(64).share(), Duration::from_micros(1));
        assert_eq!(Quota::parse("60/1m").unwrap().times(64).to_string(), "3840/1m");
    }

    proptest! {
        #[test]
        fn next_request_is_allowed_exactly_when_reported(requests in 1_u32..=5000, seconds in 1_u64..=3600, paid in 0.0..=1.0) {
            let quota = Quota::parse(&format!("{requests}/{seconds}s")).unwrap();
            #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "any debt within the limit will do")]
            let debt = (quota.limit_us() as f64 * paid) as u64;
            let left = quota.left(debt);
            prop_assert!(left.requests <= requests.into());
            prop_assert!(left.one_more > Duration::ZERO && left.one_more <= quota.share());
            let wait = u64::try_from(left.one_more.as_micros()).unwrap();
            if debt >= wait {
                prop_assert_eq!(quota.left(debt - wait).requests, left.requests + 1);
                prop_assert_eq!(quota.left(debt - wait + 1).requests, left.requests);
            }
        }
    }
}
