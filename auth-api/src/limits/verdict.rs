use std::time::Duration;

use super::policy::{Key, Policy};
use super::quota::Left;
use super::route::Scope;

/// What is left of one quota.
#[derive(Debug, PartialEq, Eq)]
struct Remaining {
    /// Whether this is the quota of a wallet or session.
    of_subject: bool,
    /// The item in the list in the `RateLimit` header.
    item: String,
}

/// The result of checking a request against the rate limits.
#[derive(Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The value of the `RateLimit-Policy` header.
    pub policies: String,
    /// What is left of each quota, for the `RateLimit` header.
    left: Vec<Remaining>,
    /// If a quota is used up, the property by which it counts requests, and the time to wait.
    /// `None` if the request is allowed.
    pub refused: Option<(Scope, Duration)>,
}

impl Verdict {
    pub(super) fn new<'p>(
        policies: impl Iterator<Item = &'p Policy>,
        counted: &[(&Policy, String)],
        results: &[Result<Left, Left>],
    ) -> Self {
        let policies = policies.map(|policy| {
            format!(
                "\"{}\";q={};w={}",
                policy.name,
                policy.quota.requests(),
                policy.quota.seconds()
            )
        });
        let left =
            counted.iter().zip(results).map(|((policy, _), Ok(left) | Err(left))| Remaining {
                of_subject: policy.key == Key::Subject,
                item: format!(
                    "\"{}\";r={};t={}",
                    policy.name,
                    left.requests,
                    in_seconds(left.one_more)
                ),
            });
        let refused = counted.iter().zip(results).find_map(|((policy, _), result)| {
            let left = result.err()?;
            Some((policy.key.scope(), Duration::from_secs(in_seconds(left.one_more))))
        });
        Self { policies: policies.collect::<Vec<_>>().join(", "), left: left.collect(), refused }
    }

    /// Adds the quotas from an earlier check of the same request.
    #[must_use]
    pub fn after(self, before: Self) -> Self {
        Self { left: before.left.into_iter().chain(self.left).collect(), ..self }
    }

    /// Returns the value of the `RateLimit` header.
    #[must_use]
    pub fn left(&self) -> String {
        self.left.iter().map(|remaining| remaining.item.as_str()).collect::<Vec<_>>().join(", ")
    }

    /// Removes the remaining quota of the wallet or session from the response.
    pub fn hide_subject(&mut self) {
        self.left.retain(|remaining| !remaining.of_subject);
    }
}

/// Converts a duration to whole seconds, rounding up.
fn in_seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}
