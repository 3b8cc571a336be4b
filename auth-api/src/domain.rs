//! Value types that all layers share.

use std::time::Duration;

use schema::sessions::Session;
use serde::Deserialize;
use url::{Host, Url};
use utoipa::ToSchema;

/// How the credentials of a session are sent.
// Deserialized from a string: for an enum, serde would also accept `{"token": null}`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[schema(rename_all = "lowercase")]
#[serde(try_from = "String")]
pub enum Transport {
    /// An access token and a refresh token.
    #[default]
    Token,
    /// A cookie.
    Cookie,
}

impl TryFrom<String> for Transport {
    type Error = &'static str;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        match name.as_str() {
            "token" => Ok(Self::Token),
            "cookie" => Ok(Self::Cookie),
            _ => Err("expected `token` or `cookie`"),
        }
    }
}

impl Transport {
    /// Returns the name that responses, metrics, and logs contain.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Cookie => "cookie",
        }
    }

    /// Returns the transport of a session.
    #[must_use]
    pub fn of(session: &Session) -> Self {
        if session.cookie.is_some() { Self::Cookie } else { Self::Token }
    }
}

/// A Stellar network, named as in CAIP-2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// The public network.
    Pubnet,
    /// The test network.
    Testnet,
}

impl Network {
    /// Returns `stellar:pubnet` or `stellar:testnet`, which is the chain in a challenge and the
    /// issuer of a wallet's account.
    #[must_use]
    pub fn caip2(self) -> &'static str {
        match self {
            Self::Pubnet => "stellar:pubnet",
            Self::Testnet => "stellar:testnet",
        }
    }
}

/// The URL that clients use, and the parts of it that wallets and browsers show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicUrl {
    /// The URL as configured: the `URI` of a challenge.
    pub uri: String,
    /// The host, followed by the port unless it is the scheme's default: the `domain` of a
    /// challenge.
    pub domain: String,
    /// The origin of pages at this URL (RFC 6454): scheme, host and port.
    pub origin: String,
}

impl PublicUrl {
    /// Returns the URL of `path`, which must begin with a slash.
    #[must_use]
    pub fn at(&self, path: &str) -> String {
        format!("{}{path}", self.uri.trim_end_matches('/'))
    }

    /// Returns `true` if this is an `http://` URL whose host appears to be public. Clients outside
    /// this machine and its private network then use the API over plain HTTP.
    #[must_use]
    pub fn is_public_without_tls(&self) -> bool {
        let Ok(url) = Url::parse(&self.uri) else { return false };
        let public = match url.host() {
            Some(Host::Ipv4(ip)) => !(ip.is_loopback() || ip.is_private() || ip.is_link_local()),
            Some(Host::Ipv6(ip)) => {
                !(ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local())
            }
            Some(Host::Domain(name)) => {
                let suffix = name.trim_end_matches('.').rsplit_once('.').map(|(_, suffix)| suffix);
                suffix.is_some_and(|suffix| !PRIVATE_SUFFIXES.contains(&suffix))
            }
            None => false,
        };
        url.scheme() == "http" && public
    }
}

/// Top-level domains that are never public (RFC 2606, RFC 6761, RFC 6762, RFC 8375, and ICANN's
/// `internal`).
const PRIVATE_SUFFIXES: [&str; 8] =
    ["localhost", "test", "example", "invalid", "local", "internal", "lan", "arpa"];

/// Lifetimes of credentials and sessions.
#[derive(Clone, Copy, Debug)]
pub struct Lifetimes {
    /// Lifetime of an access token.
    pub access_token: Duration,
    /// Sliding lifetime of a session: a session expires if it is not used for this long.
    pub session: Duration,
    /// Absolute lifetime of a session.
    pub session_max_age: Duration,
    /// A new expiration time of a session is stored only if it is later than the stored expiration
    /// time by at least this much.
    pub extend_threshold: Duration,
    /// Lifetime of a challenge.
    pub challenge: Duration,
    /// Grace period during which a refresh that is retried without the `Idempotency-Key` of the
    /// first attempt returns the same refresh token.
    pub reuse_grace: Duration,
    /// Maximum age of the login of a session that may end other sessions; `None` if there is no
    /// maximum.
    pub step_up: Option<Duration>,
}

impl Lifetimes {
    /// Returns how long a rotation is hidden from clients, which is twice the grace period. During
    /// this time, clients are shown the session's times from before the rotation. When a client
    /// sees the new times, which reveal the rotation, it is too late for a retry without the
    /// `Idempotency-Key` of the first attempt.
    #[must_use]
    pub fn rotation_hidden(&self) -> Duration {
        self.reuse_grace * 2
    }
}
