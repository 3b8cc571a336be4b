use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Once;

use actix_web::HttpRequest;
use actix_web::http::header::{FORWARDED, HeaderMap, USER_AGENT, X_FORWARDED_FOR};

use crate::config::{ProxyHeader, TrustedProxies};

/// The client of a request, as far as it can be identified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// The address of the peer, or the client address that trusted proxies report. Never an
    /// IPv4-mapped IPv6 address.
    pub ip: IpAddr,
    /// The `User-Agent` header, truncated to a sensible length.
    pub user_agent: Option<String>,
}

/// The maximum length of a user agent, in characters. The client controls this header, and no page
/// needs to show more of it.
const USER_AGENT_LENGTH: usize = 256;

impl Client {
    /// Returns the client of `request`.
    #[must_use]
    pub fn of(request: &HttpRequest, trusted: &TrustedProxies) -> Self {
        // A peer without an address would be on a Unix socket, and this service does not listen on
        // one.
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

/// Returns whether an address belongs to this machine or to a private network.
pub(super) fn is_near(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_private() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
    }
}

/// Logs a warning, only once, if a proxy appears to be missing from `TRUSTED_PROXIES`. All clients
/// of such a proxy share one address, and therefore one quota.
fn warn_of_a_proxy(peer: IpAddr, headers: &HeaderMap, trusted: &TrustedProxies) {
    static WARNED: Once = Once::new();
    let was_forwarded = headers.contains_key(FORWARDED) || headers.contains_key(X_FORWARDED_FOR);
    if is_near(peer) && was_forwarded && !trusted.contain(peer) {
        WARNED.call_once(
            || tracing::warn!(event = "untrusted_proxy", %peer, "request forwarded by a proxy that is not in TRUSTED_PROXIES; its clients share one address"),
        );
    }
}

/// Logs a warning, only once, if a trusted proxy sends client addresses only in the header that is
/// not configured in `PROXY_HEADER`. This header is ignored, so all clients of the proxy appear to
/// have the proxy's address. A client that sends the ignored header itself can also cause this
/// warning. The header has no other effect.
fn warn_of_another_header(peer: IpAddr, headers: &HeaderMap, trusted: &TrustedProxies) {
    static WARNED: Once = Once::new();
    let (read, ignored) = (trusted.header().name(), trusted.header().ignored().name());
    if trusted.contain(peer) && headers.contains_key(&ignored) && !headers.contains_key(&read) {
        WARNED.call_once(|| {
            tracing::warn!(
                event = "other_proxy_header", %peer, read = read.as_str(), ignored = ignored.as_str(),
                "trusted proxy sends a header other than PROXY_HEADER; its clients share one address");
        });
    }
}

/// One hop on the path of a request: an address, or `None` if the header does not contain a valid
/// address for the hop.
type Hop = Option<IpAddr>;

/// Determines the address of the client by following the request back through the trusted proxies,
/// using only the header that these proxies set.
///
/// The other header is never read. A proxy forwards it unchanged, so a client could use it to
/// choose its own address, or to hide behind the proxy's address by sending two headers that
/// contradict each other.
fn address(peer: IpAddr, headers: &HeaderMap, trusted: &TrustedProxies) -> IpAddr {
    let hops = match trusted.header() {
        ProxyHeader::XForwardedFor => x_forwarded_for,
        ProxyHeader::Forwarded => forwarded,
    };
    walk_back(peer, &path(headers, trusted.header(), hops), trusted)
}

/// Follows the path of the request back from the peer, whose address is known, and returns the
/// address at which it stops. It stops at the first address that does not belong to a trusted
/// proxy. It also stops at an address if the hop before it is unknown: the path ends there, is
/// malformed there, or hides the address. Therefore, it never returns an address that only an
/// untrusted host claims.
fn walk_back(peer: IpAddr, path: &[Hop], trusted: &TrustedProxies) -> IpAddr {
    let mut reached = peer;
    for hop in path.iter().rev() {
        let (true, Some(before)) = (trusted.contain(reached), hop) else { break };
        reached = before.to_canonical();
    }
    reached
}

/// Returns the hops that a header lists. The last hop was added by the nearest proxy. All fields
/// with the same name form one list (RFC 9110 §5.3).
fn path(headers: &HeaderMap, header: ProxyHeader, hops: fn(&str) -> Vec<Hop>) -> Vec<Hop> {
    headers
        .get_all(header.name())
        .flat_map(|value| value.to_str().map_or_else(|_| vec![None], hops))
        .collect()
}

fn forwarded(value: &str) -> Vec<Hop> {
    let elements = rfc7239::parse(value);
    elements.map(|element| element.ok()?.forwarded_for?.ip().copied()).collect()
}

/// Parses `X-Forwarded-For`. Some proxies also write the port, and some write brackets without a
/// port.
fn x_forwarded_for(value: &str) -> Vec<Hop> {
    let address = |text: &str| {
        let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
        bare.parse().ok().or_else(|| text.parse().ok().map(|with_port: SocketAddr| with_port.ip()))
    };
    value.split(',').map(|element| address(element.trim())).collect()
}
