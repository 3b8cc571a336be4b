//! How often one may ask: counted by the network that a request comes from, and by whom it is
//! about.
//!
//! - [`layer`]: the networks that an address is in; whoever has a whole IPv6 prefix does not have a
//!   quota for each of its /64s;
//! - [`quota`]: so many in such a time; `gcra.lua` counts in Redis, so that all processes share one
//!   count, in one round trip for all that a request is counted by and by Redis' clock;
//! - [`in_process`] counts here while Redis does not answer, so that the limits hold all the same,
//!   and always what is so cheap that the round trip would cost more: reading one's session;
//! - [`Verdict`] says how a request fared, and what the client is told (the `RateLimit` fields of
//!   draft-ietf-httpapi-ratelimit-headers-11).
//!
//! A request is counted by network before anything is done for it that costs more: signatures,
//! PostgreSQL. By whom it is about it is counted only once it has proved to come from there: a
//! wallet by its signature, a session by a genuine refresh token. Otherwise anybody could use up
//! the quota of somebody else, and lock a wallet out.

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

/// `RATE_LIMIT_*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quotas {
    /// Challenges, logins, and secrets of clients to be checked, each from one network.
    pub ip: Quota,
    /// Logins of one wallet, counted once its signature has been verified.
    pub address: Quota,
    /// Refreshes from one network.
    pub refresh_ip: Quota,
    /// Refreshes of one session.
    pub session: Quota,
    /// Accounts made from one provider's network.
    pub new_accounts: Quota,
    /// Requests with a credential of a session, and requests of other services without
    /// credentials, each from one network.
    pub read_ip: Quota,
    /// Requests with a credential of one session.
    pub read_session: Quota,
}

/// The limits of each route.
pub struct Limits {
    redis: Arc<Redis>,
    /// In the order of [`Route::SHARED`]; nothing where `RATE_LIMIT=off`.
    shared: Vec<Vec<Policy>>,
    /// What shows a credential of a session and reads the database.
    sessions: Vec<Policy>,
    /// What shows no credentials of a client.
    strangers: Vec<Policy>,
}

const SCRIPT: &str = include_str!("gcra.lua");

impl Limits {
    /// Counts in `redis`; `None` of `quotas` limits nothing.
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

    /// Counts a request by its network, and by `subject` where it has proved whom it is about: so
    /// that nobody uses up the quota of somebody else, or fills Redis with keys of his own
    /// making. `None`: there are no limits.
    pub async fn count(&self, route: Route, ip: IpAddr, subject: Option<&str>) -> Option<Verdict> {
        self.count_shared(route, Counted { subject, ..Counted::network(ip) }).await
    }

    /// Counts a request that [`count`](Self::count) has counted by its network, once it has proved
    /// whom it is about.
    pub async fn count_subject(&self, route: Route, ip: IpAddr, subject: &str) -> Option<Verdict> {
        self.count_shared(route, Counted::subject(ip, subject)).await
    }

    /// Counts a login that makes an account.
    pub async fn count_new_account(&self, ip: IpAddr) -> Option<Verdict> {
        self.count_shared(Route::Login, Counted::new_account(ip)).await
    }

    /// Counts a request that shows a credential of a session, by its network: all routes together,
    /// in this process.
    #[must_use]
    pub fn count_caller(&self, ip: IpAddr) -> Option<Verdict> {
        count_here(&self.sessions, Counted::network(ip))
    }

    /// Counts a request that [`count_caller`](Self::count_caller) has counted, once its credential
    /// has proved to be of this session.
    #[must_use]
    pub fn count_session(&self, ip: IpAddr, session: &str) -> Option<Verdict> {
        count_here(&self.sessions, Counted::subject(ip, session))
    }

    /// Counts a request for other services that shows no credentials, by its network, in this
    /// process.
    #[must_use]
    pub fn count_stranger(&self, ip: IpAddr) -> Option<Verdict> {
        count_here(&self.strangers, Counted::network(ip))
    }

    async fn count_shared(&self, route: Route, counted: Counted<'_>) -> Option<Verdict> {
        let policies = self.shared.get(route as usize)?;
        let name =
            |policy: &Policy, who: &str| format!("limit:{}:{}:{who}", route.key(), policy.name);
        let by: Vec<_> = policies
            .iter()
            .filter_map(|policy| Some((policy, name(policy, &policy.who(&counted)?))))
            .collect();
        let fared = match self.count_in_redis(&by).await {
            Ok(fared) => fared,
            Err(failure) => {
                tracing::debug!(event = "rate_limit_in_process", error = %failure, "request counted in process instead of Redis");
                count_in_process(&by)
            }
        };
        Some(Verdict::new(policies.iter().filter(|policy| policy.is_shown(&counted)), &by, &fared))
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
        let mut fared: Vec<_> = counted
            .iter()
            .zip(debts)
            .map(|((policy, _), debt)| Ok(policy.quota.left(*debt)))
            .collect();
        if *passed == 0 {
            let last = fared.pop().ok_or(RedisFailure::Nonsense)?;
            fared.push(last.and_then(Err));
        }
        Ok(fared)
    }

    /// Forgets whom it need not remember; to be called now and then.
    pub fn forget_the_rested(&self) {
        let here = self.sessions.iter().chain(&self.strangers);
        self.shared
            .iter()
            .flatten()
            .chain(here)
            .for_each(|policy| policy.in_process.forget_the_rested());
    }
}

/// Counts in this process alone: what costs so little that a round trip to Redis would cost more.
fn count_here(policies: &[Policy], counted: Counted<'_>) -> Option<Verdict> {
    let by: Vec<_> =
        policies.iter().filter_map(|policy| Some((policy, policy.who(&counted)?))).collect();
    let fared = count_in_process(&by);
    let shown = policies.iter().filter(|policy| policy.is_shown(&counted));
    (!policies.is_empty()).then(|| Verdict::new(shown, &by, &fared))
}

/// The network of an address that is counted first: an IPv4 address, a /64 of IPv6.
#[must_use]
pub fn narrowest_network(ip: IpAddr) -> String {
    Layer::Narrowest.network(ip).unwrap_or_default()
}
