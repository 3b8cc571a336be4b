//! How often one may ask, and who is believed about where a request comes from.

use clap::Args;

use super::mistakes::Mistakes;
use super::{ProxyHeader, TrustedProxies};
use crate::limits::{Quota, Quotas};

/// What can be set of it, as it was written.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct LimitOptions {
    /// `on` or `off` [default: on]
    #[arg(long, env)]
    rate_limit: Option<String>,
    /// Challenges, logins, and wrong credentials of clients, each from one network: an IPv4 address, a /64 of IPv6; a /56 has 4 times as many, a /48 64 times [default: 120/1m]
    #[arg(long, env)]
    rate_limit_ip: Option<String>,
    /// Logins of one wallet, counted once its signature has been verified [default: 240/1m]
    #[arg(long, env)]
    rate_limit_address: Option<String>,
    /// Refreshes from one network [default: 600/1m]
    #[arg(long, env)]
    rate_limit_refresh_ip: Option<String>,
    /// Refreshes of one session [default: 30/1m]
    #[arg(long, env)]
    rate_limit_session: Option<String>,
    /// Addresses and networks, comma-separated, of proxies whose `PROXY_HEADER` is believed [default: none]
    #[arg(long, env)]
    trusted_proxies: Option<String>,
    /// The header in which those proxies name the client: `x-forwarded-for` or `forwarded`; the other is ignored [default: x-forwarded-for]
    #[arg(long, env)]
    proxy_header: Option<String>,
}

// A person logs in a few times a day, but an office or a carrier may stand behind one address, and a suite of tests on one
// machine. So these leave room for hundreds of people, and bound what costs: a signature that is verified (a tenth of a
// millisecond), and a session that is stored (anybody can make wallets).
const IP: &str = "120/1m";
// Only a wallet's own signature counts. Each login is a row and a transaction that waits for the others of its account: this bounds a
// client that loops, on however many hosts.
const ADDRESS: &str = "240/1m";
// Every session refreshes each ACCESS_TOKEN_TTL: this is 9,000 of them behind one address. A refresh stores nothing new.
const REFRESH_IP: &str = "600/1m";
// Tabs that wake together, and retries.
const SESSION: &str = "30/1m";

impl LimitOptions {
    pub(super) fn check(&self, mistakes: &mut Mistakes) -> (Option<Quotas>, TrustedProxies) {
        let trusted = self.trusted_proxies.as_deref();
        let trusted = mistakes.parse("TRUSTED_PROXIES", trusted, "", TrustedProxies::parse).unwrap_or_default();
        let header = self.proxy_header.as_deref().filter(|header| !header.is_empty());
        let header = mistakes.parse("PROXY_HEADER", header, "x-forwarded-for", ProxyHeader::parse).unwrap_or_default();
        let on = mistakes.parse("RATE_LIMIT", self.rate_limit.as_deref(), "on", |text| match text {
            "on" => Ok(true),
            "off" => Ok(false),
            _ => Err("neither on nor off"),
        });
        let mut quota =
            |name, value: &Option<String>, default| mistakes.parse(name, value.as_deref(), default, Quota::parse);
        let ip = quota("RATE_LIMIT_IP", &self.rate_limit_ip, IP);
        let address = quota("RATE_LIMIT_ADDRESS", &self.rate_limit_address, ADDRESS);
        let refresh_ip = quota("RATE_LIMIT_REFRESH_IP", &self.rate_limit_refresh_ip, REFRESH_IP);
        let session = quota("RATE_LIMIT_SESSION", &self.rate_limit_session, SESSION);
        let quotas = || Some(Quotas { ip: ip?, address: address?, refresh_ip: refresh_ip?, session: session? });
        (on.filter(|on| *on).and_then(|_| quotas()), trusted.writing(header))
    }
}

/// What is in force, as variables.
pub(super) fn lines(quotas: Option<&Quotas>) -> Vec<(&'static str, String)> {
    let Some(quotas) = quotas else { return vec![("RATE_LIMIT", "off".into())] };
    vec![
        ("RATE_LIMIT", "on".into()),
        ("RATE_LIMIT_IP", quotas.ip.to_string()),
        ("RATE_LIMIT_ADDRESS", quotas.address.to_string()),
        ("RATE_LIMIT_REFRESH_IP", quotas.refresh_ip.to_string()),
        ("RATE_LIMIT_SESSION", quotas.session.to_string()),
    ]
}
