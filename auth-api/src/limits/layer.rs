use std::net::IpAddr;

use ipnet::{IpNet, Ipv6Net};

/// A network that a request is counted by.
///
/// A customer of a provider gets a /64 at least, often a /56, and for the asking a /48: so each of
/// these has a quota, and one /48 has 64 times that of a /64 and not 65,536 times.
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
    /// All of them, the smallest network first.
    pub(super) const ALL: [Self; 3] = [Self::Narrowest, Self::V6Slash56, Self::V6Slash48];

    /// The name that clients see.
    pub(super) fn policy(self) -> &'static str {
        match self {
            Self::Narrowest => "ip",
            Self::V6Slash56 => "ip-56",
            Self::V6Slash48 => "ip-48",
        }
    }

    /// How many times the quota of the narrowest network it has.
    pub(super) fn factor(self) -> u32 {
        match self {
            Self::Narrowest => 1,
            Self::V6Slash56 => 4,
            Self::V6Slash48 => 64,
        }
    }

    /// The network of an address; `None`: IPv4 has no such layer.
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

/// What a provider gives to one customer at the most, or to one of its sites: the /48 of an IPv6
/// address, the /24 of an IPv4 address.
#[must_use]
pub fn provider_network(ip: IpAddr) -> String {
    let ip = ip.to_canonical();
    let length = if ip.is_ipv4() { 24 } else { 48 };
    IpNet::new(ip, length).map_or_else(|_| ip.to_string(), |network| network.trunc().to_string())
}
