//! What clients may take of us before they have proved anything.

use std::time::Duration;

use clap::Args;
use hardening::request_head;

use super::config_errors::ConfigErrors;

/// What connections and requests may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Connections at the most, over all workers.
    pub connections: usize,
    /// Connections of one network at the most. Nothing: a tenth of all, and trusted proxies and
    /// private networks have no bound.
    pub connections_per_network: Option<usize>,
    /// How long a connection may stand between two requests.
    pub keep_alive: Duration,
    /// How long the head of a request may take to arrive.
    pub head_timeout: Duration,
    /// How long its body may take.
    pub body_timeout: Duration,
    /// Bytes of a head.
    pub head_size: usize,
    /// Bytes of a body.
    pub body_size: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            // At the worst each holds 128 KiB, a head that is refused; and two file descriptors.
            connections: 1000,
            connections_per_network: None,
            // Longer than the minute that proxies commonly keep theirs, so that it is they who
            // close.
            keep_alive: Duration::from_secs(75),
            // A head is a few hundred bytes: a client that cannot send it in this time keeps a
            // connection busy.
            head_timeout: Duration::from_secs(5),
            // A client on the worst of networks sends 16 KiB in this time.
            body_timeout: Duration::from_secs(10),
            head_size: request_head::MAX_SIZE,
            // Ten times the largest body that makes sense.
            body_size: 16 * 1024,
        }
    }
}

/// What can be set of it, as it was written.
#[derive(Args, Clone, Debug, Default)]
#[allow(clippy::struct_field_names, reason = "the fields name the flags")]
pub(super) struct BoundOptions {
    /// Connections of clients, divided among the workers (one for each core). Before it is reached
    /// the longest idle ones are closed; when all are busy, more wait [default: 1000]
    #[arg(long, env)]
    max_connections: Option<String>,
    /// Connections of one network (an IPv4 address, a /64 of IPv6); beyond it the longest idle one
    /// of the network is closed. If it is set, it also holds for private networks, loopback and
    /// `TRUSTED_PROXIES` [default: a tenth of `MAX_CONNECTIONS`, and those peers are exempt]
    #[arg(long, env)]
    max_connections_per_network: Option<String>,
    /// How long a connection may stand between two requests [default: 75s]
    #[arg(long, env)]
    keep_alive: Option<String>,
    /// How long the head of a request may take [default: 5s]
    #[arg(long, env)]
    head_timeout: Option<String>,
    /// How long the body of a request may take [default: 10s]
    #[arg(long, env)]
    body_timeout: Option<String>,
    /// Size of a request's head at the most [default: 16KiB]
    #[arg(long, env)]
    max_head_size: Option<String>,
    /// Size of a request's body at the most [default: 16KiB]
    #[arg(long, env)]
    max_body_size: Option<String>,
}

const LONGEST: Duration = Duration::from_hours(1);
const KIB: usize = 1024;
/// The HTTP library takes no head beyond 128 KiB.
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
                format_args!("at most MAX_CONNECTIONS, which is {connections}"),
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
    /// Connections of one network at the most, where they are counted.
    #[must_use]
    pub fn network_share(&self) -> usize {
        self.connections_per_network.unwrap_or((self.connections / 10).max(1))
    }

    /// What is in force, as variables.
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
            // Empty where it is not set: to set the default would bind trusted proxies, too.
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
