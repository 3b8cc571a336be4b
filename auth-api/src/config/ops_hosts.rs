//! The names under which the operations port may be reached.

use std::fmt;
use std::net::IpAddr;

use actix_web::http::uri::Authority;

/// `OPS_HOSTS`: names that requests to the operations port may have as their host, besides IP addresses and `localhost`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpsHosts(Vec<String>);

/// Not the name of a host.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not the name of a host such as ops.internal, without a scheme and a port")]
pub struct InvalidOpsHost(String);

impl OpsHosts {
    /// Parses names with commas between them.
    pub fn parse(text: &str) -> Result<Self, InvalidOpsHost> {
        let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
        let name = |text: &str| {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
            text.bytes().all(plain).then(|| text.to_ascii_lowercase()).ok_or_else(|| InvalidOpsHost(text.to_owned()))
        };
        names.map(name).collect::<Result<_, _>>().map(Self)
    }

    /// Whether this is a host, with or without a port, that the operations port answers to.
    #[must_use]
    pub fn accept(&self, host: &str) -> bool {
        let Ok(authority) = host.parse::<Authority>() else { return false };
        let bare = authority.host().trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
        bare.parse::<IpAddr>().is_ok() || bare == "localhost" || self.0.contains(&bare)
    }
}

impl fmt::Display for OpsHosts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(","))
    }
}
