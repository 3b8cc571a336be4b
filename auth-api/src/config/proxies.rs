//! Trusted proxies: the peers that may forward requests, and the header in which they send the
//! client's address.

use std::fmt;
use std::net::IpAddr;

use actix_web::http::header::{FORWARDED, HeaderName, X_FORWARDED_FOR};
use ipnet::{IpNet, Ipv4Net};

/// The proxies in `TRUSTED_PROXIES`, and `PROXY_HEADER`, the header in which they send the client's
/// address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies {
    networks: Vec<IpNet>,
    header: ProxyHeader,
}

/// The header in which trusted proxies send the address of the client whose request they forward.
///
/// A proxy sets one of the two headers and forwards the other one unchanged from the client.
/// Therefore, only the header that the proxy sets can be trusted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProxyHeader {
    /// `X-Forwarded-For`, which nearly all proxies set.
    #[default]
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

/// The value is not the name of a header in which proxies send the client's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("neither x-forwarded-for nor forwarded; use the header that the proxy sets")]
pub struct InvalidProxyHeader;

impl ProxyHeader {
    const ALL: [Self; 2] = [Self::XForwardedFor, Self::Forwarded];

    /// Parses the name of a header. Case does not matter.
    pub fn parse(text: &str) -> Result<Self, InvalidProxyHeader> {
        let named = |header: &Self| header.name().as_str().eq_ignore_ascii_case(text.trim());
        Self::ALL.into_iter().find(named).ok_or(InvalidProxyHeader)
    }

    /// Returns the name of the header.
    #[must_use]
    pub fn name(self) -> HeaderName {
        match self {
            Self::XForwardedFor => X_FORWARDED_FOR,
            Self::Forwarded => FORWARDED,
        }
    }

    /// Returns the header that is ignored.
    #[must_use]
    pub fn ignored(self) -> Self {
        match self {
            Self::XForwardedFor => Self::Forwarded,
            Self::Forwarded => Self::XForwardedFor,
        }
    }
}

/// The value is not a list of addresses and networks that can be trusted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidProxies {
    /// An entry is neither an address nor a network.
    #[error("{0:?} is neither an address nor a network such as 10.0.0.0/8")]
    Malformed(String),
    /// The network is so large that it contains hosts of other parties, and each of these hosts
    /// could claim any client address.
    #[error("{0} is too large; the prefix must be at least /{shortest}", shortest = shortest(.0))]
    TooLarge(IpNet),
}

/// Returns the shortest prefix length that is accepted. It permits the largest networks that a
/// deployment may own: a private network together with the adjacent one (10.0.0.0/8 and
/// 11.0.0.0/8), and the allocation of the largest member of an address registry.
fn shortest(network: &IpNet) -> u8 {
    match network {
        IpNet::V4(_) => 7,
        IpNet::V6(_) => 16,
    }
}

impl TrustedProxies {
    /// Parses comma-separated addresses and networks. If the text is empty, no proxy is trusted.
    pub fn parse(text: &str) -> Result<Self, InvalidProxies> {
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        let networks = parts.map(network).collect::<Result<_, _>>()?;
        Ok(Self { networks, header: ProxyHeader::default() })
    }

    /// Returns the same proxies, with `header` as the header that they set.
    #[must_use]
    pub fn writing(self, header: ProxyHeader) -> Self {
        Self { header, ..self }
    }

    /// Returns the header in which the proxies send the client's address.
    #[must_use]
    pub fn header(&self) -> ProxyHeader {
        self.header
    }

    /// Returns whether the forwarding header of a request from this address is trusted.
    #[must_use]
    pub fn contain(&self, ip: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(&ip))
    }
}

fn network(text: &str) -> Result<IpNet, InvalidProxies> {
    let network = network_of(text).ok_or_else(|| InvalidProxies::Malformed(text.to_owned()))?;
    if network.prefix_len() < shortest(&network) {
        return Err(InvalidProxies::TooLarge(network));
    }
    Ok(network)
}

/// Parses a network. A single address becomes a network that contains only this address. The result
/// is never an IPv4-mapped IPv6 network.
pub(crate) fn network_of(text: &str) -> Option<IpNet> {
    let network = text.parse().map(|ip: IpAddr| IpNet::from(ip)).or_else(|_| text.parse());
    network.ok().map(as_v4)
}

/// Converts an IPv4-mapped network: `::ffff:10.0.0.0/104` is 10.0.0.0/8, and `::ffff:10.0.0.1` is
/// 10.0.0.1.
fn as_v4(network: IpNet) -> IpNet {
    let IpNet::V6(v6) = network else { return network };
    let v4 = v6.addr().to_ipv4_mapped().zip(v6.prefix_len().checked_sub(96));
    v4.and_then(|(ip, length)| Ipv4Net::new(ip, length).ok()).map_or(network, IpNet::V4)
}

impl fmt::Display for TrustedProxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let networks: Vec<_> = self.networks.iter().map(ToString::to_string).collect();
        f.write_str(&networks.join(","))
    }
}
