use std::net::IpAddr;

use super::in_process::InProcess;
use super::layer::{Layer, provider_network};
use super::quota::{Left, Quota};
use super::route::Scope;

/// What one quota counts by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Network(Layer),
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

/// By what a request is counted this time.
#[derive(Clone, Copy)]
pub(super) struct Counted<'r> {
    /// Where it comes from.
    pub(super) from: IpAddr,
    pub(super) by_network: bool,
    pub(super) subject: Option<&'r str>,
    pub(super) as_new_account: bool,
}

impl<'r> Counted<'r> {
    /// By its network.
    pub(super) fn network(from: IpAddr) -> Self {
        Self { from, by_network: true, subject: None, as_new_account: false }
    }

    /// By whom it is about.
    pub(super) fn subject(from: IpAddr, subject: &'r str) -> Self {
        Self { subject: Some(subject), by_network: false, ..Self::network(from) }
    }

    /// As one that makes an account.
    pub(super) fn new_account(from: IpAddr) -> Self {
        Self { as_new_account: true, by_network: false, ..Self::network(from) }
    }
}

/// One quota of a route.
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

    /// The quotas of the networks that an address is in, the smallest network first: a request that
    /// it refuses is not counted by the larger ones.
    pub(super) fn networks(quota: Quota) -> impl Iterator<Item = Self> {
        Layer::ALL.into_iter().map(move |layer| {
            Self::new(Key::Network(layer), layer.policy(), quota.times(layer.factor()))
        })
    }

    /// Who is counted; `None`: this policy does not apply to it.
    pub(super) fn who(&self, counted: &Counted<'_>) -> Option<String> {
        match self.key {
            Key::Network(layer) => counted.by_network.then(|| layer.network(counted.from))?,
            Key::Subject => counted.subject.map(str::to_owned),
            Key::NewAccount => counted.as_new_account.then(|| provider_network(counted.from)),
        }
    }

    /// Whether clients see this policy in the answer.
    pub(super) fn is_shown(&self, counted: &Counted<'_>) -> bool {
        match self.key {
            Key::Network(layer) => layer.network(counted.from).is_some(),
            Key::Subject => true,
            Key::NewAccount => counted.as_new_account,
        }
    }
}

/// Counts by these policies in this process alone.
pub(super) fn count_in_process(counted: &[(&Policy, String)]) -> Vec<Result<Left, Left>> {
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
