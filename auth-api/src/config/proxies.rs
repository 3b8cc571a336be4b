//! Who is believed about whose requests it passes on.

use std::fmt;
use std::net::IpAddr;

use actix_web::http::header::{FORWARDED, HeaderName, X_FORWARDED_FOR};
use ipnet::{IpNet, Ipv4Net};

/// `TRUSTED_PROXIES` and `PROXY_HEADER`: proxies whose forwarding header is trusted, and which
/// header that is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies {
    networks: Vec<IpNet>,
    header: ProxyHeader,
}

/// The one header in which proxies name the clients that they forward.
///
/// A proxy that writes one of the two passes the other on as the client sent it, so only one of
/// them can be believed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProxyHeader {
    /// `X-Forwarded-For`, which nearly all proxies write.
    #[default]
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

/// Not the name of a header in which proxies name clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("neither x-forwarded-for nor forwarded; it must be the header that your proxy writes")]
pub struct InvalidProxyHeader;

impl ProxyHeader {
    const ALL: [Self; 2] = [Self::XForwardedFor, Self::Forwarded];

    /// Parses the name of a header, in any case.
    pub fn parse(text: &str) -> Result<Self, InvalidProxyHeader> {
        let named = |header: &Self| header.name().as_str().eq_ignore_ascii_case(text.trim());
        Self::ALL.into_iter().find(named).ok_or(InvalidProxyHeader)
    }

    /// The header's name.
    #[must_use]
    pub fn name(self) -> HeaderName {
        match self {
            Self::XForwardedFor => X_FORWARDED_FOR,
            Self::Forwarded => FORWARDED,
        }
    }

    /// The header that is ignored.
    #[must_use]
    pub fn ignored(self) -> Self {
        match self {
            Self::XForwardedFor => Self::Forwarded,
            Self::Forwarded => Self::XForwardedFor,
        }
    }
}

/// Not a list of addresses and networks that can be trusted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidProxies {
    /// Neither an address nor a network.
    #[error("{0:?} is neither an address nor a network such as 10.0.0.0/8")]
    Malformed(String),
    /// A network so large that strangers are in it: each of them could name any address as its own.
    #[error("{0} is too large: at least /{shortest}; name the proxies", shortest = shortest(.0))]
    TooLarge(IpNet),
}

/// The shortest prefix that can be a network of one's own: 10.0.0.0/8 and its neighbour, and what a
/// registry gives to its largest members.
fn shortest(network: &IpNet) -> u8 {
    match network {
        IpNet::V4(_) => 7,
        IpNet::V6(_) => 16,
    }
}

impl TrustedProxies {
    /// Parses addresses and networks with commas between them; none is trusted by an empty text.
    pub fn parse(text: &str) -> Result<Self, InvalidProxies> {
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        let networks = parts.map(network).collect::<Result<_, _>>()?;
        Ok(Self { networks, header: ProxyHeader::default() })
    }

    /// The same proxies, which name clients in this header.
    #[must_use]
    pub fn writing(self, header: ProxyHeader) -> Self {
        Self { header, ..self }
    }

    /// The header in which they name clients.
    #[must_use]
    pub fn header(&self) -> ProxyHeader {
        self.header
    }

    /// Whether a request that comes from this address is believed about where it was before.
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
        let networks: Vec<_> = self.networks.iter().map(ToString::to_string).collect();
        f.write_str(&networks.join(","))
    }
}
