use std::time::Duration;

use super::policy::{Key, Policy};
use super::quota::Left;
use super::route::Scope;

/// How a request fared.
#[derive(Debug, PartialEq, Eq)]
pub struct Verdict {
    /// `RateLimit-Policy`
    pub policies: String,
    /// What is left of the quotas of networks, for `RateLimit`.
    by_network: Vec<String>,
    /// What is left of that of the wallet or the session.
    by_subject: Option<String>,
    /// By what it is refused, and when to try again.
    pub refused: Option<(Scope, Duration)>,
}

impl Verdict {
    pub(super) fn new<'p>(
        policies: impl Iterator<Item = &'p Policy>,
        counted: &[(&Policy, String)],
        fared: &[Result<Left, Left>],
    ) -> Self {
        let policies = policies
            .map(|policy| format!("\"{}\";q={};w={}", policy.name, policy.quota.requests(), policy.quota.seconds()));
        let (mut by_network, mut by_subject) = (Vec::new(), None);
        for ((policy, _), Ok(left) | Err(left)) in counted.iter().zip(fared) {
            let item = format!("\"{}\";r={};t={}", policy.name, left.requests, in_seconds(left.one_more));
            match policy.key {
                Key::Network(_) | Key::NewAccount => by_network.push(item),
                Key::Subject => by_subject = Some(item),
            }
        }
        let refused = counted.iter().zip(fared).find_map(|((policy, _), fared)| {
            let left = fared.err()?;
            Some((policy.key.scope(), Duration::from_secs(in_seconds(left.one_more))))
        });
        Self { policies: policies.collect::<Vec<_>>().join(", "), by_network, by_subject, refused }
    }

    /// This one, of a request that was counted before with that result.
    #[must_use]
    pub fn after(self, before: Self) -> Self {
        Self {
            by_network: [before.by_network, self.by_network].concat(),
            by_subject: self.by_subject.or(before.by_subject),
            ..self
        }
    }

    /// `RateLimit`
    #[must_use]
    pub fn left(&self) -> String {
        let items = self.by_network.iter().chain(&self.by_subject);
        items.map(String::as_str).collect::<Vec<_>>().join(", ")
    }

    /// Keeps what is left of the quota of the wallet or the session from the client.
    pub fn hide_subject(&mut self) {
        self.by_subject = None;
    }
}

/// Whole seconds, never too few.
fn in_seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}
