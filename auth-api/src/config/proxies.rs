//! Who is believed about whose requests it passes on.

use std::fmt;
use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};

/// `TRUSTED_PROXIES`: networks whose word on whom they speak for is taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies(Vec<IpNet>);

/// Not a list of addresses and networks that can be trusted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidProxies {
    /// Neither an address nor a network.
    #[error("{0:?} is neither an address nor a network such as 10.0.0.0/8")]
    Malformed(String),
    /// A network that everybody is in: each client could say who it is.
    #[error("{0} is everybody; name the proxies")]
    Everybody(IpNet),
}

impl TrustedProxies {
    /// Parses addresses and networks with commas between them; none is trusted by an empty text.
    pub fn parse(text: &str) -> Result<Self, InvalidProxies> {
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        parts.map(network).collect::<Result<_, _>>().map(Self)
    }

    /// Whether a request that comes from this address is believed about where it was before.
    #[must_use]
    pub fn contain(&self, ip: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&ip))
    }
}

fn network(text: &str) -> Result<IpNet, InvalidProxies> {
    let network = network_of(text).ok_or_else(|| InvalidProxies::Malformed(text.to_owned()))?;
    if network.prefix_len() == 0 {
        return Err(InvalidProxies::Everybody(network));
    }
    Ok(network)
}

/// A network, or an address as a network of its own. Never IPv4 in the clothes of IPv6.
pub(crate) fn network_of(text: &str) -> Option<IpNet> {
    let network = text.parse().map(|ip: IpAddr| IpNet::from(ip)).or_else(|_| text.parse());
    network.ok().map(as_v4)
}

/// `::ffff:10.0.0.0/104` is 10.0.0.0/8, as `::ffff:10.0.0.1` is 10.0.0.1.
fn as_v4(network: IpNet) -> IpNet {
    let IpNet::V6(v6) = network else { return network };
    let v4 = v6.addr().to_ipv4_mapped().zip(v6.prefix_len().checked_sub(96));
    v4.and_then(|(ip, length)| Ipv4Net::new(ip, length).ok()).map_or(network, IpNet::V4)
}

impl fmt::Display for TrustedProxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let networks: Vec<_> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&networks.join(","))
    }
}
