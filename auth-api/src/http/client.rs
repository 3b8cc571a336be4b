use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Once;

use actix_web::HttpRequest;
use actix_web::http::header::{FORWARDED, HeaderMap, HeaderName, USER_AGENT, X_FORWARDED_FOR};

use crate::config::TrustedProxies;

/// Where a request comes from, as far as that can be known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// The peer, or whom the trusted proxies say that they speak for. Never IPv4 in the clothes of IPv6.
    pub ip: IpAddr,
    /// What it calls itself, cut to a sensible length.
    pub user_agent: Option<String>,
}

/// A user agent is a header of the client's making: what a page can show of it is enough.
const USER_AGENT_LENGTH: usize = 256;

impl Client {
    /// Of this request.
    #[must_use]
    pub fn of(request: &HttpRequest, trusted: &TrustedProxies) -> Self {
        // A peer without an address would be a Unix socket, on which we do not listen.
        let peer = request.peer_addr().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |address| address.ip());
        let peer = peer.to_canonical();
        let user_agent = request.headers().get(USER_AGENT).and_then(|value| value.to_str().ok());
        warn_of_a_proxy(peer, request.headers(), trusted);
        Self {
            ip: address(peer, request.headers(), trusted),
            user_agent: user_agent.map(|text| text.chars().take(USER_AGENT_LENGTH).collect()),
        }
    }
}

/// Tells once of what looks like a proxy that was forgotten: all its clients share one address, and so one quota.
fn warn_of_a_proxy(peer: IpAddr, headers: &HeaderMap, trusted: &TrustedProxies) {
    static TOLD: Once = Once::new();
    let near = match peer {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_private(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local(),
    };
    let speaks_for_others = headers.contains_key(FORWARDED) || headers.contains_key(X_FORWARDED_FOR);
    if near && speaks_for_others && !trusted.contain(peer) {
        TOLD.call_once(
            || tracing::warn!(%peer, "a proxy that TRUSTED_PROXIES does not name: its clients share one address"),
        );
    }
}

/// A step of the way that a request has come, where it says which address that was.
type Hop = Option<IpAddr>;

/// Follows the request back over the proxies that are trusted: through `Forwarded` (RFC 7239), or else through
/// `X-Forwarded-For`.
///
/// A proxy that writes one of them passes the other on as it came, which may be the client's own invention. So where there
/// are both they must lead to the same address; otherwise neither is believed.
fn address(peer: IpAddr, headers: &HeaderMap, trusted: &TrustedProxies) -> IpAddr {
    let back = |name: HeaderName, hops: fn(&str) -> Vec<Hop>| {
        headers.contains_key(&name).then(|| walk_back(peer, &way(headers, name, hops), trusted))
    };
    match (back(FORWARDED, forwarded), back(X_FORWARDED_FOR, x_forwarded_for)) {
        (Some(one), Some(other)) if one != other => peer,
        (Some(ip), _) | (None, Some(ip)) => ip,
        (None, None) => peer,
    }
}

/// From the peer, which is known, as far back as each that is reached is trusted and names one before it. Where the chain
/// is malformed, hidden or at its end, it is the last one that was reached: never what somebody untrusted claims.
fn walk_back(peer: IpAddr, way: &[Hop], trusted: &TrustedProxies) -> IpAddr {
    let mut reached = peer;
    for hop in way.iter().rev() {
        let (true, Some(before)) = (trusted.contain(reached), hop) else { break };
        reached = before.to_canonical();
    }
    reached
}

/// All fields of a name make one list (RFC 9110 §5.3), the nearest proxy's word at its end.
fn way(headers: &HeaderMap, name: HeaderName, hops: fn(&str) -> Vec<Hop>) -> Vec<Hop> {
    headers.get_all(name).flat_map(|value| value.to_str().map_or_else(|_| vec![None], hops)).collect()
}

fn forwarded(value: &str) -> Vec<Hop> {
    let elements = rfc7239::parse(value);
    elements.map(|element| element.ok()?.forwarded_for?.ip().copied()).collect()
}

/// Some proxies write the port, too, and some the brackets without one.
fn x_forwarded_for(value: &str) -> Vec<Hop> {
    let address = |text: &str| {
        let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
        bare.parse().ok().or_else(|| text.parse().ok().map(|with_port: SocketAddr| with_port.ip()))
    };
    value.split(',').map(|element| address(element.trim())).collect()
}
