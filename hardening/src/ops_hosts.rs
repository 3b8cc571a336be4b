//! The hosts that an operations port accepts.
//!
//! A web page can make its own host name resolve to the address of an operations port (DNS
//! rebinding). The browser then treats a response from the port as a response from the page's own
//! origin. In such a request, the header `Host` contains the host name of the page, so the port can
//! detect the request.

use std::fmt;
use std::net::IpAddr;

use actix_web::dev::ServiceRequest;
use actix_web::http::header::HOST;
use actix_web::http::uri::Authority;

/// The host names in `OPS_HOSTS`. The header `Host` of a request to an operations port may contain
/// one of these names, an IP address, or `localhost`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpsHosts(Vec<String>);

/// An entry is not a host name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a host name such as ops.internal, without scheme and port")]
pub struct InvalidOpsHost(String);

impl OpsHosts {
    /// Parses comma-separated host names.
    pub fn parse(text: &str) -> Result<Self, InvalidOpsHost> {
        let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
        let name = |text: &str| {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
            text.bytes()
                .all(plain)
                .then(|| text.to_ascii_lowercase())
                .ok_or_else(|| InvalidOpsHost(text.to_owned()))
        };
        names.map(name).collect::<Result<_, _>>().map(Self)
    }

    /// Returns whether the hosts in the header `Host` and in the target of a request are accepted.
    /// A request without either is accepted, because a browser always sends `Host`.
    #[must_use]
    pub fn accept_request(&self, request: &ServiceRequest) -> bool {
        let target = request.uri().authority().map(Authority::as_str);
        let mut named =
            request.headers().get_all(HOST).map(|host| host.to_str().ok()).chain(target.map(Some));
        named.all(|host| host.is_some_and(|host| self.accept(host)))
    }

    /// Returns whether this host is accepted, with or without a port.
    fn accept(&self, host: &str) -> bool {
        let Ok(authority) = host.parse::<Authority>() else { return false };
        let bare =
            authority.host().trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
        bare.parse::<IpAddr>().is_ok() || bare == "localhost" || self.0.contains(&bare)
    }
}

impl fmt::Display for OpsHosts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(","))
    }
}
