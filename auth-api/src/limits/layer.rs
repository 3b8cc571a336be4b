use std::net::IpAddr;

use ipnet::{IpNet, Ipv6Net};

/// A size of network by which requests are counted.
///
/// A provider assigns at least a /64 to a customer, often a /56, and a /48 on request. So each of
/// these networks has a quota of its own. A /48 has 64 times the quota of a /64, although it
/// contains 65,536 of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layer {
    /// An IPv4 address, or the /64 of an IPv6 address.
    Narrowest,
    /// The /56 of an IPv6 address.
    V6Slash56,
    /// The /48 of an IPv6 address.
    V6Slash48,
}

impl Layer {
    /// All layers, the smallest network first.
    pub(super) const ALL: [Self; 3] = [Self::Narrowest, Self::V6Slash56, Self::V6Slash48];

    /// Returns the name of this layer's quota in the rate-limit headers.
    pub(super) fn policy(self) -> &'static str {
        match self {
            Self::Narrowest => "ip",
            Self::V6Slash56 => "ip-56",
            Self::V6Slash48 => "ip-48",
        }
    }

    /// Returns the factor by which the quota of the narrowest network is multiplied for this layer.
    pub(super) fn factor(self) -> u32 {
        match self {
            Self::Narrowest => 1,
            Self::V6Slash56 => 4,
            Self::V6Slash48 => 64,
        }
    }

    /// Returns the network of an address. Returns `None` if the address is an IPv4 address and this
    /// layer exists only for IPv6.
    pub(super) fn network(self, ip: IpAddr) -> Option<String> {
        let slash = |ip, length| Some(Ipv6Net::new(ip, length).ok()?.trunc().to_string());
        match (self, ip.to_canonical()) {
            (Self::Narrowest, IpAddr::V4(ip)) => Some(ip.to_string()),
            (Self::V6Slash56 | Self::V6Slash48, IpAddr::V4(_)) => None,
            (Self::Narrowest, IpAddr::V6(ip)) => slash(ip, 64),
            (Self::V6Slash56, IpAddr::V6(ip)) => slash(ip, 56),
            (Self::V6Slash48, IpAddr::V6(ip)) => slash(ip, 48),
        }
    }
}

/// Returns the largest network that a provider usually assigns to one customer or site: the /48 of
/// an IPv6 address, or the /24 of an IPv4 address.
#[must_use]
pub fn provider_network(ip: IpAddr) -> String {
    let ip = ip.to_canonical();
    let length = if ip.is_ipv4() { 24 } else { 48 };
    IpNet::new(ip, length).map_or_else(|_| ip.to_string(), |network| network.trunc().to_string())
}
