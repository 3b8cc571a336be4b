use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Once;

use actix_web::HttpRequest;
use actix_web::http::header::{FORWARDED, HeaderMap, USER_AGENT, X_FORWARDED_FOR};

use crate::config::{ProxyHeader, TrustedProxies};

/// Where a request comes from, as far as that can be known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// The peer, or whom the trusted proxies say that they speak for. Never IPv4 in the clothes of
    /// IPv6.
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
        let peer =
            request.peer_addr().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |address| address.ip());
        let peer = peer.to_canonical();
        let user_agent = request.headers().get(USER_AGENT).and_then(|value| value.to_str().ok());
        warn_of_a_proxy(peer, request.headers(), trusted);
        warn_of_another_header(peer, request.headers(), trusted);
        Self {
            ip: address(peer, request.headers(), trusted),
            user_agent: user_agent.map(|text| text.chars().take(USER_AGENT_LENGTH).collect()),
        }
    }
}

/// Whether an address is of this machine or of a private network.
pub(super) fn is_near(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_private() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
    }
}

/// Tells once of what looks like a proxy that was forgotten: all its clients share one address, and
/// so one quota.
fn warn_of_a_proxy(peer: IpAddr, headers: &HeaderMap, trusted: &TrustedProxies) {
    static TOLD: Once = Once::new();
    let speaks_for_others =
        headers.contains_key(FORWARDED) || headers.contains_key(X_FORWARDED_FOR);
    if is_near(peer) && speaks_for_others && !trusted.contain(peer) {
        TOLD.call_once(
            || tracing::warn!(event = "untrusted_proxy", %peer, "request forwarded by a proxy that is not in TRUSTED_PROXIES; its clients share one address"),
        );
    }
}

/// Warns once of a trusted proxy that names its clients in the header that is ignored: all of them
/// share its address. A client can cause this warning by sending that header, which is all that it
/// achieves.
fn warn_of_another_header(peer: IpAddr, headers: &HeaderMap, trusted: &TrustedProxies) {
    static WARNED: Once = Once::new();
    let (read, ignored) = (trusted.header().name(), trusted.header().ignored().name());
    if trusted.contain(peer) && headers.contains_key(&ignored) && !headers.contains_key(&read) {
        WARNED.call_once(|| {
            tracing::warn!(
                event = "other_proxy_header", %peer, read = read.as_str(), ignored = ignored.as_str(),
                "trusted proxy sends another header than PROXY_HEADER; its clients share one address");
        });
    }
}

/// A step of the way that a request has come, where it says which address that was.
type Hop = Option<IpAddr>;

/// Follows the request back over the proxies that are trusted, through the one header that they
/// write.
///
/// The other header is never looked at: a proxy passes it on as the client sent it, so that a
/// client could choose its address, or hide behind the proxy's by making the two disagree.
fn address(peer: IpAddr, headers: &HeaderMap, trusted: &TrustedProxies) -> IpAddr {
    let hops = match trusted.header() {
        ProxyHeader::XForwardedFor => x_forwarded_for,
        ProxyHeader::Forwarded => forwarded,
    };
    walk_back(peer, &way(headers, trusted.header(), hops), trusted)
}

/// From the peer, which is known, as far back as each that is reached is trusted and names one
/// before it. Where the chain is malformed, hidden or at its end, it is the last one that was
/// reached: never what somebody untrusted claims.
fn walk_back(peer: IpAddr, way: &[Hop], trusted: &TrustedProxies) -> IpAddr {
    let mut reached = peer;
    for hop in way.iter().rev() {
        let (true, Some(before)) = (trusted.contain(reached), hop) else { break };
        reached = before.to_canonical();
    }
    reached
}

/// All fields of a name make one list (RFC 9110 §5.3), the nearest proxy's word at its end.
fn way(headers: &HeaderMap, header: ProxyHeader, hops: fn(&str) -> Vec<Hop>) -> Vec<Hop> {
    headers
        .get_all(header.name())
        .flat_map(|value| value.to_str().map_or_else(|_| vec![None], hops))
        .collect()
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
