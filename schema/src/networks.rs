//! The networks from which a token family (the refresh tokens of one session) is used.

use std::net::IpAddr;

use diesel::prelude::*;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::tables::token_families;

/// The last IPv4 network and the last IPv6 network from which the family was used. Both are stored,
/// because a client with an address of each version alternates between them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = token_families)]
pub struct Networks {
    /// The last IPv4 address, or `None` if none has been used.
    pub last_ipv4: Option<IpNet>,
    /// The /64 network of the last IPv6 address, or `None` if none has been used. Hosts change the
    /// other bits automatically (RFC 8981).
    pub last_ipv6: Option<IpNet>,
}

impl Networks {
    /// Returns the network of an address.
    #[must_use]
    pub fn of(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(ip) => Self { last_ipv4: Some(Ipv4Net::from(ip).into()), last_ipv6: None },
            IpAddr::V6(ip) => {
                // This prefix length is valid for every IPv6 address.
                Self {
                    last_ipv4: None,
                    last_ipv6: Ipv6Net::new(ip, 64).ok().map(|net| net.trunc().into()),
                }
            }
        }
    }

    /// Returns whether an address is in one of the networks. Returns `false` if no network of its
    /// IP version has been used.
    #[must_use]
    pub fn contain(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        [self.last_ipv4, self.last_ipv6].iter().flatten().any(|network| network.contains(&ip))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks(ipv4: &str, ipv6: &str) -> Networks {
        let of = |text: &str| text.parse().map(Networks::of).unwrap_or_default();
        Networks { last_ipv4: of(ipv4).last_ipv4, last_ipv6: of(ipv6).last_ipv6 }
    }

    #[test]
    fn address_is_compared_within_its_ip_version() {
        let both = networks("203.0.113.7", "2001:db8:1:2::7");
        for (ip, inside) in [
            ("203.0.113.7", true),
            ("::ffff:203.0.113.7", true),
            ("203.0.113.8", false),
            ("2001:db8:1:2:ffff::1", true),
            ("2001:db8:1:3::7", false),
        ] {
            assert_eq!(both.contain(ip.parse().unwrap()), inside, "{ip}");
        }
        let one = networks("203.0.113.7", "");
        assert!(!one.contain("2001:db8:1:2::7".parse().unwrap()));
        assert!(!Networks::default().contain("203.0.113.7".parse().unwrap()));
    }
}
