//! Limits on the resources that clients can use before they are authenticated.

use std::time::Duration;

use clap::Args;
use hardening::request_head;

use super::config_errors::ConfigErrors;

/// Limits on connections and requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Maximum number of connections, across all workers.
    pub connections: usize,
    /// Maximum number of connections from one network. If `None`, the maximum is a tenth of
    /// `connections`, and trusted proxies, private networks and loopback have no limit.
    pub connections_per_network: Option<usize>,
    /// Maximum idle time of a connection between two requests.
    pub keep_alive: Duration,
    /// Time limit for receiving the headers of a request.
    pub head_timeout: Duration,
    /// Time limit for receiving the body of a request.
    pub body_timeout: Duration,
    /// Maximum size of the headers of a request, in bytes.
    pub head_size: usize,
    /// Maximum size of the body of a request, in bytes.
    pub body_size: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            // In the worst case, each connection uses 128 KiB (for headers that are rejected) and
            // two file descriptors.
            connections: 1000,
            connections_per_network: None,
            // This is longer than the minute for which proxies commonly keep idle connections, so a
            // proxy closes its idle connections first.
            keep_alive: Duration::from_secs(75),
            // Headers have a few hundred bytes. A client that cannot send them in this time only
            // occupies a connection.
            head_timeout: Duration::from_secs(5),
            // A client on the slowest networks can send 16 KiB in this time.
            body_timeout: Duration::from_secs(10),
            head_size: request_head::MAX_SIZE,
            // This is ten times the size of the largest meaningful body.
            body_size: 16 * 1024,
        }
    }
}

/// The settings of [`Bounds`], as text.
#[derive(Args, Clone, Debug, Default)]
#[allow(clippy::struct_field_names, reason = "the fields name the flags")]
pub(super) struct BoundOptions {
    /// Maximum number of client connections, 1 to 1000000, divided among the workers (one per CPU
    /// core). Near the limit, the longest-idle connections are closed; if all connections are busy,
    /// new ones wait [default: 1000]
    #[arg(long, env)]
    max_connections: Option<String>,
    /// Maximum number of connections from one network (an IPv4 address or an IPv6 /64). If a
    /// network exceeds the limit, its longest-idle connection is closed. If this option is set, the
    /// limit also applies to private networks, loopback and `TRUSTED_PROXIES`, which are otherwise
    /// exempt [default: a tenth of `MAX_CONNECTIONS`]
    #[arg(long, env)]
    max_connections_per_network: Option<String>,
    /// Maximum idle time of a connection between two requests, up to 1h [default: 75s]
    #[arg(long, env)]
    keep_alive: Option<String>,
    /// Time limit for receiving the headers of a request, up to 1h [default: 5s]
    #[arg(long, env)]
    head_timeout: Option<String>,
    /// Time limit for receiving the body of a request, up to 1h [default: 10s]
    #[arg(long, env)]
    body_timeout: Option<String>,
    /// Maximum size of a request's headers, including the request line, 1KiB to 128KiB [default:
    /// 16KiB]
    #[arg(long, env)]
    max_head_size: Option<String>,
    /// Maximum size of a request's body, 1KiB to 128KiB [default: 16KiB]
    #[arg(long, env)]
    max_body_size: Option<String>,
}

const LONGEST: Duration = Duration::from_hours(1);
const KIB: usize = 1024;
/// Accepted sizes. The HTTP library does not accept headers of more than 128 KiB.
const SIZES: std::ops::RangeInclusive<usize> = KIB..=128 * KIB;

impl BoundOptions {
    pub(super) fn check(&self, config_errors: &mut ConfigErrors) -> Bounds {
        let default = Bounds::default();
        let connections = config_errors.parse(
            "MAX_CONNECTIONS",
            self.max_connections.as_deref(),
            &default.connections.to_string(),
            number,
        );
        let connections = connections.unwrap_or(default.connections);
        let per_network =
            self.max_connections_per_network.as_deref().filter(|text| !text.is_empty());
        let connections_per_network = per_network.and_then(|text| {
            config_errors.parse("MAX_CONNECTIONS_PER_NETWORK", Some(text), "", number)
        });
        if connections_per_network.is_some_and(|most| most > connections) {
            config_errors.note(
                "MAX_CONNECTIONS_PER_NETWORK",
                format_args!("must be at most MAX_CONNECTIONS ({connections})"),
            );
        }
        let mut span = |name, value: &Option<String>, default| {
            config_errors.span(name, value.as_ref(), default, LONGEST)
        };
        let keep_alive = span("KEEP_ALIVE", &self.keep_alive, default.keep_alive);
        let head_timeout = span("HEAD_TIMEOUT", &self.head_timeout, default.head_timeout);
        let body_timeout = span("BODY_TIMEOUT", &self.body_timeout, default.body_timeout);
        let mut size = |name, value: &Option<String>| {
            config_errors.parse(name, value.as_deref(), "16KiB", size)
        };
        let head_size = size("MAX_HEAD_SIZE", &self.max_head_size);
        let body_size = size("MAX_BODY_SIZE", &self.max_body_size);
        Bounds {
            connections,
            connections_per_network,
            keep_alive,
            head_timeout,
            body_timeout,
            head_size: head_size.unwrap_or(default.head_size),
            body_size: body_size.unwrap_or(default.body_size),
        }
    }
}

fn number(text: &str) -> Result<usize, &'static str> {
    text.parse()
        .ok()
        .filter(|most| (1..=1_000_000).contains(most))
        .ok_or("not a number from 1 to 1000000")
}

fn size(text: &str) -> Result<usize, &'static str> {
    let bytes = match text.strip_suffix("KiB") {
        Some(kib) => kib.parse().ok().and_then(|kib: usize| kib.checked_mul(KIB)),
        None => text.parse().ok(),
    };
    bytes
        .filter(|bytes| SIZES.contains(bytes))
        .ok_or("not a size such as 16KiB, from 1KiB to 128KiB")
}

impl Bounds {
    /// Returns the maximum number of connections from a network to which the limit applies.
    #[must_use]
    pub fn network_share(&self) -> usize {
        self.connections_per_network.unwrap_or((self.connections / 10).max(1))
    }

    /// Returns the effective settings as pairs of variable and value.
    pub(super) fn lines(&self) -> Vec<(&'static str, String)> {
        let duration = |duration| humantime::format_duration(duration).to_string().replace(' ', "");
        let size = |bytes: usize| {
            if bytes.is_multiple_of(KIB) {
                format!("{}KiB", bytes / KIB)
            } else {
                bytes.to_string()
            }
        };
        vec![
            ("MAX_CONNECTIONS", self.connections.to_string()),
            // The value is empty if the option is not set, because an explicit value would also
            // limit trusted proxies.
            (
                "MAX_CONNECTIONS_PER_NETWORK",
                self.connections_per_network.map(|most| most.to_string()).unwrap_or_default(),
            ),
            ("KEEP_ALIVE", duration(self.keep_alive)),
            ("HEAD_TIMEOUT", duration(self.head_timeout)),
            ("BODY_TIMEOUT", duration(self.body_timeout)),
            ("MAX_HEAD_SIZE", size(self.head_size)),
            ("MAX_BODY_SIZE", size(self.body_size)),
        ]
    }
}
