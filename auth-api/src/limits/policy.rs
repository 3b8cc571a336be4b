use std::net::IpAddr;

use super::in_process::InProcess;
use super::layer::{Layer, provider_network};
use super::quota::{Left, Quota};
use super::route::Scope;

/// The property by which a quota counts requests: all requests with the same value share the quota.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Network(Layer),
    /// The wallet or session that a request concerns.
    Subject,
    /// The network that a new account comes from.
    NewAccount,
}

impl Key {
    pub(super) fn scope(self) -> Scope {
        match self {
            Self::Network(_) => Scope::Ip,
            Self::Subject => Scope::Address,
            Self::NewAccount => Scope::NewAccounts,
        }
    }
}

/// The properties of a request by which quotas count it.
#[derive(Clone, Copy)]
pub(super) struct Counted<'r> {
    /// The address that the request comes from.
    pub(super) from: IpAddr,
    pub(super) by_network: bool,
    pub(super) subject: Option<&'r str>,
    pub(super) as_new_account: bool,
}

impl<'r> Counted<'r> {
    /// Creates the properties of a request that is counted by its network.
    pub(super) fn network(from: IpAddr) -> Self {
        Self { from, by_network: true, subject: None, as_new_account: false }
    }

    /// Creates the properties of a request that is counted by the wallet or session that it
    /// concerns.
    pub(super) fn subject(from: IpAddr, subject: &'r str) -> Self {
        Self { subject: Some(subject), by_network: false, ..Self::network(from) }
    }

    /// Creates the properties of a request that is counted as the creation of an account.
    pub(super) fn new_account(from: IpAddr) -> Self {
        Self { as_new_account: true, by_network: false, ..Self::network(from) }
    }
}

/// One quota of a route, and the property by which the quota counts requests.
pub(super) struct Policy {
    pub(super) key: Key,
    /// The name that clients see.
    pub(super) name: &'static str,
    pub(super) quota: Quota,
    pub(super) in_process: InProcess,
}

impl Policy {
    pub(super) fn new(key: Key, name: &'static str, quota: Quota) -> Self {
        Self { key, name, quota, in_process: InProcess::new(quota) }
    }

    /// Returns a policy for each network that an address belongs to, the smallest network first. A
    /// request that exceeds the quota of a smaller network is not counted for the larger networks.
    pub(super) fn networks(quota: Quota) -> impl Iterator<Item = Self> {
        Layer::ALL.into_iter().map(move |layer| {
            Self::new(Key::Network(layer), layer.policy(), quota.times(layer.factor()))
        })
    }

    /// Returns the network, wallet or session for which this policy counts a request, or `None` if
    /// the policy does not apply to the request.
    pub(super) fn key_for(&self, counted: &Counted<'_>) -> Option<String> {
        match self.key {
            Key::Network(layer) => counted.by_network.then(|| layer.network(counted.from))?,
            Key::Subject => counted.subject.map(str::to_owned),
            Key::NewAccount => counted.as_new_account.then(|| provider_network(counted.from)),
        }
    }

    /// Returns whether the rate-limit headers of the response contain this policy.
    pub(super) fn is_shown(&self, counted: &Counted<'_>) -> bool {
        match self.key {
            Key::Network(layer) => layer.network(counted.from).is_some(),
            Key::Subject => true,
            Key::NewAccount => counted.as_new_account,
        }
    }
}

/// Counts a request against the quotas of these policies, in this process only. Stops at the first
/// policy whose quota is used up.
pub(super) fn count_in_process(counted: &[(&Policy, String)]) -> Vec<Result<Left, Left>> {
    let mut results = Vec::with_capacity(counted.len());
    for (policy, name) in counted {
        let left = policy.in_process.count(name);
        results.push(left);
        if left.is_err() {
            break;
        }
    }
    results
}
