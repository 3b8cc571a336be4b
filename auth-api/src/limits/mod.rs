//! How often one may ask: counted by the network that a request comes from, and by whom it is about.
//!
//! - [`layer`]: the networks that an address is in; whoever has a whole IPv6 prefix does not have a quota for each of its /64s;
//! - [`quota`]: so many in such a time; `gcra.lua` counts in Redis, so that all processes share one count, in one round trip
//!   for all that a request is counted by and by Redis' clock;
//! - [`in_process`] counts here while Redis does not answer, so that the limits hold all the same;
//! - [`Verdict`] says how a request fared, and what the client is told (the `RateLimit` fields of
//!   draft-ietf-httpapi-ratelimit-headers-11).
//!
//! A request is counted by network before anything is done for it that costs more: signatures, PostgreSQL. By whom it is about it is
//! counted only once it has proved to come from there: a wallet by its signature, a session by a genuine refresh token. Otherwise
//! anybody could use up the quota of somebody else, and lock a wallet out.

mod in_process;
mod layer;
mod quota;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::redis::{Answer, Redis, RedisFailure};
use in_process::InProcess;
use layer::Layer;
use quota::Left;
pub use quota::{InvalidQuota, Quota};

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
    /// POST /oauth/introspect, without the credentials of a client
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
            Self::Login | Self::Refresh => &Scope::ALL,
            Self::Challenge | Self::Introspect | Self::Revoke => &[Scope::Ip],
        }
    }

    fn key(self) -> &'static str {
        self.as_str().rsplit('/').next().unwrap_or_default()
    }
}

/// By what a request is counted, as metrics have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The network that it comes from: an IPv4 address, or the /64, the /56 and the /48 of an IPv6 address.
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

/// What one quota counts by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Key {
    Network(Layer),
    Subject,
}

impl Key {
    fn scope(self) -> Scope {
        match self {
            Self::Network(_) => Scope::Ip,
            Self::Subject => Scope::Address,
        }
    }
}

/// One quota of a route.
struct Policy {
    key: Key,
    /// The name that clients see.
    name: &'static str,
    quota: Quota,
    in_process: InProcess,
}

impl Policy {
    fn new(key: Key, name: &'static str, quota: Quota) -> Self {
        Self { key, name, quota, in_process: InProcess::new(quota) }
    }

    /// The quotas of the networks that an address is in, the smallest network first: a request that it refuses is not counted by the
    /// larger ones.
    fn networks(quota: Quota) -> impl Iterator<Item = Self> {
        Layer::ALL
            .into_iter()
            .map(move |layer| Self::new(Key::Network(layer), layer.policy(), quota.times(layer.factor())))
    }

    /// Who is counted, for a request from `ip` about `subject`; `None`: this policy does not apply to it.
    fn who(&self, ip: Option<IpAddr>, subject: Option<&str>) -> Option<String> {
        match self.key {
            Key::Network(layer) => layer.network(ip?),
            Key::Subject => subject.map(str::to_owned),
        }
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
    /// What is left of the quotas of networks, for `RateLimit`.
    by_network: Vec<String>,
    /// What is left of that of the wallet or the session.
    by_subject: Option<String>,
    /// By what it is refused, and when to try again.
    pub refused: Option<(Scope, Duration)>,
}

const SCRIPT: &str = include_str!("gcra.lua");

impl Limits {
    /// Counts in `redis`; `None` of `quotas` limits nothing.
    #[must_use]
    pub fn new(redis: Arc<Redis>, quotas: Option<Quotas>) -> Self {
        let routes = quotas.map(|quotas| {
            Route::ALL.map(|route| {
                let by_network = if route == Route::Refresh { quotas.refresh_ip } else { quotas.ip };
                let by_subject = match route {
                    Route::Refresh => Some(("session", quotas.session)),
                    Route::Login => Some(("address", quotas.address)),
                    Route::Challenge | Route::Introspect | Route::Revoke => None,
                };
                let by_subject = by_subject.map(|(name, quota)| Policy::new(Key::Subject, name, quota));
                Policy::networks(by_network).chain(by_subject).collect()
            })
        });
        Self { redis, routes: routes.map(Vec::from).unwrap_or_default() }
    }

    /// Counts a request by its network, and by `subject` where it has proved whom it is about: so that nobody uses up the quota of
    /// somebody else, or fills Redis with keys of his own making. `None`: there are no limits.
    pub async fn count(&self, route: Route, ip: IpAddr, subject: Option<&str>) -> Option<Verdict> {
        self.count_by(route, ip, Some(ip), subject).await
    }

    /// Counts a request that [`count`](Self::count) has counted by its network, once it has proved whom it is about.
    pub async fn count_subject(&self, route: Route, ip: IpAddr, subject: &str) -> Option<Verdict> {
        self.count_by(route, ip, None, Some(subject)).await
    }

    async fn count_by(&self, route: Route, from: IpAddr, ip: Option<IpAddr>, subject: Option<&str>) -> Option<Verdict> {
        let policies = self.routes.get(route as usize)?;
        let name = |policy: &Policy, who: &str| format!("limit:{}:{}:{who}", route.key(), policy.name);
        let counted: Vec<_> =
            policies.iter().filter_map(|policy| Some((policy, name(policy, &policy.who(ip, subject)?)))).collect();

        let fared = match self.count_in_redis(&counted).await {
            Ok(fared) => fared,
            Err(failure) => {
                tracing::debug!(error = %failure, "a request is counted in process");
                count_in_process(&counted)
            }
        };
        let of_all =
            policies.iter().filter(|policy| policy.key == Key::Subject || policy.who(Some(from), None).is_some());
        Some(Verdict::new(of_all, &counted, &fared))
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

impl Verdict {
    fn new<'p>(
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
                Key::Network(_) => by_network.push(item),
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
        Self { by_network: [before.by_network, self.by_network].concat(), ..self }
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
