use std::time::Duration;

use super::policy::{Key, Policy};
use super::quota::Left;
use super::route::Scope;

/// What is left of one quota.
#[derive(Debug, PartialEq, Eq)]
struct Remaining {
    /// The quota is that of the wallet or the session.
    of_subject: bool,
    item: String,
}

/// How a request fared.
#[derive(Debug, PartialEq, Eq)]
pub struct Verdict {
    /// `RateLimit-Policy`
    pub policies: String,
    /// What is left of each quota, for `RateLimit`.
    left: Vec<Remaining>,
    /// By what it is refused, and when to try again.
    pub refused: Option<(Scope, Duration)>,
}

impl Verdict {
    pub(super) fn new<'p>(
        policies: impl Iterator<Item = &'p Policy>,
        counted: &[(&Policy, String)],
        fared: &[Result<Left, Left>],
    ) -> Self {
        let policies = policies.map(|policy| {
            format!(
                "\"{}\";q={};w={}",
                policy.name,
                policy.quota.requests(),
                policy.quota.seconds()
            )
        });
        let left = counted.iter().zip(fared).map(|((policy, _), Ok(left) | Err(left))| Remaining {
            of_subject: policy.key == Key::Subject,
            item: format!(
                "\"{}\";r={};t={}",
                policy.name,
                left.requests,
                in_seconds(left.one_more)
            ),
        });
        let refused = counted.iter().zip(fared).find_map(|((policy, _), fared)| {
            let left = fared.err()?;
            Some((policy.key.scope(), Duration::from_secs(in_seconds(left.one_more))))
        });
        Self { policies: policies.collect::<Vec<_>>().join(", "), left: left.collect(), refused }
    }

    /// This one, of a request that was counted before with that result.
    #[must_use]
    pub fn after(self, before: Self) -> Self {
        Self { left: before.left.into_iter().chain(self.left).collect(), ..self }
    }

    /// `RateLimit`
    #[must_use]
    pub fn left(&self) -> String {
        self.left.iter().map(|remaining| remaining.item.as_str()).collect::<Vec<_>>().join(", ")
    }

    /// Keeps what is left of the quota of the wallet or the session from the client.
    pub fn hide_subject(&mut self) {
        self.left.retain(|remaining| !remaining.of_subject);
    }
}

/// Whole seconds, never too few.
fn in_seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}
