//! How often one may ask: counted by the network that a request comes from, and by whom it is about.
//!
//! - [`quota`]: so many in such a time; `gcra.lua` counts in Redis, so that all processes share one count, in one round trip
//!   for both scopes and by Redis' clock;
//! - [`in_process`] counts here while Redis does not answer, so that the limits hold all the same;
//! - [`Verdict`] says how a request fared, and what the client is told (the `RateLimit` fields of
//!   draft-ietf-httpapi-ratelimit-headers-11).
//!
//! A request is counted before anything is done for it that costs more: signatures, PostgreSQL.

mod in_process;
mod quota;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::Ipv6Net;

use crate::redis::{Answer, Redis, RedisFailure};
use in_process::InProcess;
use quota::Left;
pub use quota::{InvalidQuota, Quota};

/// `RATE_LIMIT_*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quotas {
    /// Challenges, logins, and secrets of clients to be checked, each from one network.
    pub ip: Quota,
    /// Challenges, and logins, for one wallet.
    pub address: Quota,
    /// Refreshes from one network.
    pub refresh_ip: Quota,
    /// Refreshes of one session.
    pub session: Quota,
}

/// What is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// POST /auth/challenge
    Challenge,
    /// POST /auth/login
    Login,
    /// POST /auth/refresh
    Refresh,
    /// POST /oauth/introspect, where a client's secret has to be hashed
    Introspect,
    /// POST /oauth/revoke, the same
    Revoke,
}

impl Route {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Challenge, Self::Login, Self::Refresh, Self::Introspect, Self::Revoke];

    /// Its template, as in the other metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Challenge => "/auth/challenge",
            Self::Login => "/auth/login",
            Self::Refresh => "/auth/refresh",
            Self::Introspect => "/oauth/introspect",
            Self::Revoke => "/oauth/revoke",
        }
    }

    /// By what its requests are counted.
    #[must_use]
    pub fn scopes(self) -> &'static [Scope] {
        match self {
            Self::Challenge | Self::Login | Self::Refresh => &Scope::ALL,
            Self::Introspect | Self::Revoke => &[Scope::Ip],
        }
    }

    fn key(self) -> &'static str {
        self.as_str().rsplit('/').next().unwrap_or_default()
    }
}

/// By what a request is counted, as metrics have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The network that it comes from: an IPv4 address, or the /64 of an IPv6 address, which is what one customer gets.
    Ip,
    /// Whom it is about: the wallet, or for a refresh the session.
    Address,
}

impl Scope {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Ip, Self::Address];

    /// The label's value.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ip => "ip",
            Self::Address => "address",
        }
    }
}

/// One quota of a route.
struct Policy {
    scope: Scope,
    /// What clients know it by.
    name: &'static str,
    quota: Quota,
    in_process: InProcess,
}

impl Policy {
    fn new(scope: Scope, name: &'static str, quota: Quota) -> Self {
        Self { scope, name, quota, in_process: InProcess::new(quota) }
    }
}

/// The limits of each route.
pub struct Limits {
    redis: Arc<Redis>,
    /// In the order of [`Route::ALL`]; nothing where `RATE_LIMIT=off`.
    routes: Vec<Vec<Policy>>,
}

/// How a request fared.
#[derive(Debug, PartialEq, Eq)]
pub struct Verdict {
    /// `RateLimit-Policy`
    pub policies: String,
    /// `RateLimit`
    pub left: String,
    /// By what it is refused, and when to try again.
    pub refused: Option<(Scope, Duration)>,
}

const SCRIPT: &str = include_str!("gcra.lua");

impl Limits {
    /// Counts in `redis`; `None` of `quotas` limits nothing.
    #[must_use]
    pub fn new(redis: Arc<Redis>, quotas: Option<Quotas>) -> Self {
        let routes = quotas.map(|quotas| {
            let policy = |route, scope| match (route, scope) {
                (Route::Refresh, Scope::Ip) => Policy::new(scope, "ip", quotas.refresh_ip),
                (Route::Refresh, Scope::Address) => Policy::new(scope, "session", quotas.session),
                (_, Scope::Ip) => Policy::new(scope, "ip", quotas.ip),
                (_, Scope::Address) => Policy::new(scope, "address", quotas.address),
            };
            Route::ALL.map(|route| route.scopes().iter().map(|scope| policy(route, *scope)).collect())
        });
        Self { redis, routes: routes.map(Vec::from).unwrap_or_default() }
    }

    /// Counts a request from `ip` that is about `subject`, where that is known: something genuine, so that nobody fills
    /// Redis with keys of his own making. `None`: there are no limits.
    pub async fn count(&self, route: Route, ip: IpAddr, subject: Option<&str>) -> Option<Verdict> {
        let policies = self.routes.get(route as usize)?;
        let name = |policy: &Policy, who: &str| format!("limit:{}:{}:{who}", route.key(), policy.name);
        let who = |policy: &Policy| match policy.scope {
            Scope::Ip => Some(network(ip)),
            Scope::Address => subject.map(str::to_owned),
        };
        let counted: Vec<_> =
            policies.iter().filter_map(|policy| Some((policy, name(policy, &who(policy)?)))).collect();

        let fared = match self.count_in_redis(&counted).await {
            Ok(fared) => fared,
            Err(failure) => {
                tracing::debug!(error = %failure, "a request is counted in process");
                count_in_process(&counted)
            }
        };
        Some(Verdict::new(policies, &counted, &fared))
    }

    async fn count_in_redis(&self, counted: &[(&Policy, String)]) -> Result<Vec<Result<Left, Left>>, RedisFailure> {
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
        let mut fared: Vec<_> =
            counted.iter().zip(debts).map(|((policy, _), debt)| Ok(policy.quota.left(*debt))).collect();
        if *passed == 0 {
            let last = fared.pop().ok_or(RedisFailure::Nonsense)?;
            fared.push(last.and_then(Err));
        }
        Ok(fared)
    }

    /// Forgets whom it need not remember; to be called now and then.
    pub fn forget_the_rested(&self) {
        self.routes.iter().flatten().for_each(|policy| policy.in_process.forget_the_rested());
    }
}

fn count_in_process(counted: &[(&Policy, String)]) -> Vec<Result<Left, Left>> {
    let mut fared = Vec::with_capacity(counted.len());
    for (policy, name) in counted {
        let left = policy.in_process.count(name);
        fared.push(left);
        if left.is_err() {
            break;
        }
    }
    fared
}

/// What is counted as one: an IPv4 address, or a network of 64 bits.
fn network(ip: IpAddr) -> String {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => Ipv6Net::new_assert(ip, 64).trunc().to_string(),
    }
}

impl Verdict {
    fn new(policies: &[Policy], counted: &[(&Policy, String)], fared: &[Result<Left, Left>]) -> Self {
        let policies = policies
            .iter()
            .map(|policy| format!("\"{}\";q={};w={}", policy.name, policy.quota.requests(), policy.quota.seconds()));
        let left = counted.iter().zip(fared).map(|((policy, _), Ok(left) | Err(left))| {
            format!("\"{}\";r={};t={}", policy.name, left.requests, in_seconds(left.one_more))
        });
        let refused = counted.iter().zip(fared).find_map(|((policy, _), fared)| {
            let left = fared.err()?;
            Some((policy.scope, Duration::from_secs(in_seconds(left.one_more))))
        });
        Self { policies: policies.collect::<Vec<_>>().join(", "), left: left.collect::<Vec<_>>().join(", "), refused }
    }
}

/// Whole seconds, never too few.
fn in_seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}
