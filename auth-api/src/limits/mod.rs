//! Rate limits. Requests are counted by the network that they come from, and by the wallet or
//! session that they concern (the subject).
//!
//! - [`layer`] defines the networks that an address belongs to. In addition to an IPv6 /64, these
//!   are larger networks, because a client may have many /64s;
//! - [`quota`] defines a number of requests in a period. `gcra.lua` counts in Redis, so that all
//!   processes share one count. The script checks all quotas of a request in one round trip, by the
//!   clock of Redis;
//! - [`in_process`] counts in this process. It is used while Redis is unavailable, and for requests
//!   that cost less than a round trip to Redis, such as requests that read the caller's own
//!   session;
//! - [`Verdict`] is the result of counting a request. It contains the values that the client sees
//!   (the `RateLimit` fields of draft-ietf-httpapi-ratelimit-headers-11).
//!
//! A request is counted by its network before any more expensive work is done for it, such as
//! verifying a signature or querying PostgreSQL. It is counted by its subject only after the
//! subject has been verified: a wallet by a signature, or a session by an authentic token.
//! Otherwise, anyone could use up another user's quota and lock the user's wallet out.

mod in_process;
mod layer;
mod policy;
mod quota;
mod route;
mod verdict;

use std::net::IpAddr;
use std::sync::Arc;

use crate::redis::{Answer, Redis, RedisFailure};
use layer::Layer;
pub use layer::provider_network;
use policy::{Counted, Key, Policy, count_in_process};
use quota::Left;
pub use quota::{InvalidQuota, Quota};
pub use route::{Route, Scope};
pub use verdict::Verdict;

/// The quotas from `RATE_LIMIT_*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quotas {
    /// The quota of one network for challenges, logins, and checks of client secrets.
    pub ip: Quota,
    /// The quota of one wallet for logins. A login is counted after the wallet's signature has been
    /// verified.
    pub address: Quota,
    /// The quota of one network for refreshes.
    pub refresh_ip: Quota,
    /// The quota of one session for refreshes.
    pub session: Quota,
    /// The quota of one provider's network for new accounts.
    pub new_accounts: Quota,
    /// The quota of one network for requests with the credential of a session. The same quota
    /// applies, with a separate count, to requests from other services without client credentials.
    pub read_ip: Quota,
    /// The quota of one session for requests with its access token or cookie.
    pub read_session: Quota,
}

/// The rate limits of all routes. A *policy* is one quota of a route, with the property by which it
/// counts requests.
pub struct Limits {
    redis: Arc<Redis>,
    /// The policies (the quotas that apply, and what they count by) of each route, in the order of
    /// [`Route::SHARED`]. Empty if `RATE_LIMIT=off`.
    shared: Vec<Vec<Policy>>,
    /// The policies for requests that present a session's credential and read the database.
    sessions: Vec<Policy>,
    /// The policies for requests that other services send without client credentials.
    strangers: Vec<Policy>,
}

const SCRIPT: &str = include_str!("gcra.lua");

impl Limits {
    /// Creates limits that are counted in `redis`. If `quotas` is `None`, nothing is limited.
    #[must_use]
    pub fn new(redis: Arc<Redis>, quotas: Option<Quotas>) -> Self {
        let Some(quotas) = quotas else {
            return Self { redis, shared: Vec::new(), sessions: Vec::new(), strangers: Vec::new() };
        };
        let session = |quota| Policy::new(Key::Subject, "session", quota);
        let shared = Route::SHARED.map(|route| {
            let by_network = if route == Route::Refresh { quotas.refresh_ip } else { quotas.ip };
            let mut policies: Vec<_> = Policy::networks(by_network).collect();
            match route {
                Route::Login => policies.extend([
                    Policy::new(Key::Subject, "address", quotas.address),
                    Policy::new(Key::NewAccount, "new-accounts", quotas.new_accounts),
                ]),
                Route::Refresh => policies.push(session(quotas.session)),
                _ => {}
            }
            policies
        });
        let sessions =
            Policy::networks(quotas.read_ip).chain([session(quotas.read_session)]).collect();
        Self {
            redis,
            shared: shared.into(),
            sessions,
            strangers: Policy::networks(quotas.read_ip).collect(),
        }
    }

    /// Counts a request against the quota of its network and, if `subject` is set, against the
    /// quota of that subject. Pass `subject` only after the subject has been verified. Otherwise, a
    /// client could use up the quota of another client, or fill Redis with keys of its own choice.
    /// Returns `None` if there are no limits.
    pub async fn count(&self, route: Route, ip: IpAddr, subject: Option<&str>) -> Option<Verdict> {
        self.count_shared(route, Counted { subject, ..Counted::network(ip) }).await
    }

    /// Counts a request against the quota of its subject. Call this after [`count`](Self::count)
    /// has counted the request against the quota of its network and the subject has been verified.
    pub async fn count_subject(&self, route: Route, ip: IpAddr, subject: &str) -> Option<Verdict> {
        self.count_shared(route, Counted::subject(ip, subject)).await
    }

    /// Counts a login that creates an account against the quota for new accounts of its network.
    pub async fn count_new_account(&self, ip: IpAddr) -> Option<Verdict> {
        self.count_shared(Route::Login, Counted::new_account(ip)).await
    }

    /// Counts a request that presents a session's credential against the quota of the request's
    /// network. All routes share this count, which is kept in this process.
    #[must_use]
    pub fn count_caller(&self, ip: IpAddr) -> Option<Verdict> {
        count_here(&self.sessions, Counted::network(ip))
    }

    /// Counts a request against the quota of its session. Call this after
    /// [`count_caller`](Self::count_caller) has counted the request and the credential has been
    /// verified.
    #[must_use]
    pub fn count_session(&self, ip: IpAddr, session: &str) -> Option<Verdict> {
        count_here(&self.sessions, Counted::subject(ip, session))
    }

    /// Counts a request that another service sent without credentials against the quota of the
    /// request's network. The count is kept in this process.
    #[must_use]
    pub fn count_stranger(&self, ip: IpAddr) -> Option<Verdict> {
        count_here(&self.strangers, Counted::network(ip))
    }

    async fn count_shared(&self, route: Route, counted: Counted<'_>) -> Option<Verdict> {
        let policies = self.shared.get(route as usize)?;
        let name =
            |policy: &Policy, key: &str| format!("limit:{}:{}:{key}", route.key(), policy.name);
        let by: Vec<_> = policies
            .iter()
            .filter_map(|policy| Some((policy, name(policy, &policy.key_for(&counted)?))))
            .collect();
        let results = match self.count_in_redis(&by).await {
            Ok(results) => results,
            Err(failure) => {
                tracing::debug!(event = "rate_limit_in_process", error = %failure, "request counted in process instead of Redis");
                count_in_process(&by)
            }
        };
        Some(Verdict::new(
            policies.iter().filter(|policy| policy.is_shown(&counted)),
            &by,
            &results,
        ))
    }

    async fn count_in_redis(
        &self,
        counted: &[(&Policy, String)],
    ) -> Result<Vec<Result<Left, Left>>, RedisFailure> {
        let mut script = redis::pipe();
        let eval = script.cmd("EVAL").arg(SCRIPT).arg(counted.len());
        for (_, name) in counted {
            eval.arg(self.redis.key(name));
        }
        for (policy, _) in counted {
            eval.arg(policy.quota.share_us()).arg(policy.quota.limit_us());
        }
        let answer: Answer<(Vec<u64>,)> = self.redis.command("limit", &script).await;
        let (_, (answer,)) = answer?;
        let (passed, debts) = answer.split_first().ok_or(RedisFailure::Nonsense)?;
        let mut results: Vec<_> = counted
            .iter()
            .zip(debts)
            .map(|((policy, _), debt)| Ok(policy.quota.left(*debt)))
            .collect();
        if *passed == 0 {
            let last = results.pop().ok_or(RedisFailure::Nonsense)?;
            results.push(last.and_then(Err));
        }
        Ok(results)
    }

    /// Drops the counters of clients whose whole quota is available again. Call this periodically.
    pub fn forget_the_rested(&self) {
        let here = self.sessions.iter().chain(&self.strangers);
        self.shared
            .iter()
            .flatten()
            .chain(here)
            .for_each(|policy| policy.in_process.forget_the_rested());
    }
}

/// Counts a request in this process only, because it costs less than a round trip to Redis.
fn count_here(policies: &[Policy], counted: Counted<'_>) -> Option<Verdict> {
    let by: Vec<_> =
        policies.iter().filter_map(|policy| Some((policy, policy.key_for(&counted)?))).collect();
    let results = count_in_process(&by);
    let shown = policies.iter().filter(|policy| policy.is_shown(&counted));
    (!policies.is_empty()).then(|| Verdict::new(shown, &by, &results))
}

/// Returns the smallest network by which requests from an address are counted: an IPv4 address or
/// an IPv6 /64.
#[must_use]
pub fn narrowest_network(ip: IpAddr) -> String {
    Layer::Narrowest.network(ip).unwrap_or_default()
}
