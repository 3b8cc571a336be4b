//! Settings of rate limits and trusted proxies.

use clap::Args;

use super::config_errors::ConfigErrors;
use super::{ProxyHeader, TrustedProxies};
use crate::limits::{Quota, Quotas};

/// The settings, as text.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct LimitOptions {
    /// Enable rate limits: `on` or `off`. Each limit is a quota such as `60/1m`, which allows 60
    /// requests per minute. A quota has at most 1000000 requests and a period of whole seconds, up
    /// to 1h [default: on]
    #[arg(long, env)]
    rate_limit: Option<String>,
    /// Quota per network for challenges, for logins, and for introspections and revocations with
    /// wrong client credentials; each kind of request is counted separately. A network is an IPv4
    /// address or an IPv6 /64. A /56 as a whole has 4 times the quota, and a /48 has 64 times the
    /// quota [default: 120/1m]
    #[arg(long, env)]
    rate_limit_ip: Option<String>,
    /// Quota per wallet for logins, counted after the signature has been verified [default:
    /// 240/1m]
    #[arg(long, env)]
    rate_limit_address: Option<String>,
    /// Quota per network for refreshes [default: 600/1m]
    #[arg(long, env)]
    rate_limit_refresh_ip: Option<String>,
    /// Quota per session for refreshes [default: 30/1m]
    #[arg(long, env)]
    rate_limit_session: Option<String>,
    /// Quota per IPv4 /24 or IPv6 /48 for logins that create an account; logins to existing
    /// accounts do not count [default: 500/1h]
    #[arg(long, env)]
    rate_limit_new_accounts: Option<String>,
    /// Quota per network for requests with an access token or a cookie, and for introspections and
    /// revocations without client credentials; the two kinds are counted separately. Each process
    /// has its own counters [default: 6000/1m]
    #[arg(long, env)]
    rate_limit_read_ip: Option<String>,
    /// Quota per session for requests with an access token or a cookie. Each process has its own
    /// counters [default: 600/1m]
    #[arg(long, env)]
    rate_limit_read_session: Option<String>,
    /// Comma-separated addresses and networks of proxies whose `PROXY_HEADER` is trusted, with a
    /// prefix length of at least 7 (IPv4) or 16 (IPv6) [default: none]
    #[arg(long, env)]
    trusted_proxies: Option<String>,
    /// Header in which the trusted proxies send the client's address: `x-forwarded-for` or
    /// `forwarded`; the other header is ignored [default: x-forwarded-for]
    #[arg(long, env)]
    proxy_header: Option<String>,
}

// A person logs in a few times a day, but all users of an office or a mobile carrier may share one
// address. All clients of a test suite share the address of one machine. The defaults allow for
// hundreds of people per address. They limit the expensive operations: verifying a signature
// (0.1 ms) and storing a session. Anyone can cause these operations by creating wallets.
const IP: &str = "120/1m";
// Only logins with a valid signature of the wallet count. Each such login writes a row in a
// transaction that waits for the account's other logins. The quota limits a client that logs in
// continuously from any number of hosts.
const ADDRESS: &str = "240/1m";
// Every session refreshes once per ACCESS_TOKEN_TTL, so this quota is sufficient for 9,000 sessions
// behind one address. A refresh adds no rows.
const REFRESH_IP: &str = "600/1m";
// The quota allows for several browser tabs that refresh at the same time, and for retries.
const SESSION: &str = "30/1m";
// Creating a wallet is free, and each wallet that logs in leaves an account behind. Only a service
// that is announced to a large audience has more new users than this from one network. With this
// quota, an attacker can create 12,000 accounts a day from a network; without it, 172,800 from each
// address.
const NEW_ACCOUNTS: &str = "500/1h";
// Each request costs a signature check (0.1 ms) and one or two reads by key. A backend that serves
// pages for many people sends all its requests from one address. One hundred requests per second
// are a few percent of the capacity of a process.
const READ_IP: &str = "6000/1m";
// No page sends ten requests per second.
const READ_SESSION: &str = "600/1m";

impl LimitOptions {
    pub(super) fn check(
        &self,
        config_errors: &mut ConfigErrors,
    ) -> (Option<Quotas>, TrustedProxies) {
        let trusted = self.trusted_proxies.as_deref();
        let trusted = config_errors
            .parse("TRUSTED_PROXIES", trusted, "", TrustedProxies::parse)
            .unwrap_or_default();
        let header = self.proxy_header.as_deref().filter(|header| !header.is_empty());
        let header = config_errors
            .parse("PROXY_HEADER", header, "x-forwarded-for", ProxyHeader::parse)
            .unwrap_or_default();
        let on =
            config_errors.parse(
                "RATE_LIMIT",
                self.rate_limit.as_deref(),
                "on",
                |text| match text {
                    "on" => Ok(true),
                    "off" => Ok(false),
                    _ => Err("neither on nor off"),
                },
            );
        let mut quota = |name, value: &Option<String>, default| {
            config_errors.parse(name, value.as_deref(), default, Quota::parse)
        };
        let ip = quota("RATE_LIMIT_IP", &self.rate_limit_ip, IP);
        let address = quota("RATE_LIMIT_ADDRESS", &self.rate_limit_address, ADDRESS);
        let refresh_ip = quota("RATE_LIMIT_REFRESH_IP", &self.rate_limit_refresh_ip, REFRESH_IP);
        let session = quota("RATE_LIMIT_SESSION", &self.rate_limit_session, SESSION);
        let new_accounts =
            quota("RATE_LIMIT_NEW_ACCOUNTS", &self.rate_limit_new_accounts, NEW_ACCOUNTS);
        let read_ip = quota("RATE_LIMIT_READ_IP", &self.rate_limit_read_ip, READ_IP);
        let read_session =
            quota("RATE_LIMIT_READ_SESSION", &self.rate_limit_read_session, READ_SESSION);
        let quotas = || {
            Some(Quotas {
                ip: ip?,
                address: address?,
                refresh_ip: refresh_ip?,
                session: session?,
                new_accounts: new_accounts?,
                read_ip: read_ip?,
                read_session: read_session?,
            })
        };
        (on.filter(|on| *on).and_then(|_| quotas()), trusted.writing(header))
    }
}

/// Returns the effective settings as pairs of variable and value.
pub(super) fn lines(quotas: Option<&Quotas>) -> Vec<(&'static str, String)> {
    let Some(quotas) = quotas else { return vec![("RATE_LIMIT", "off".into())] };
    vec![
        ("RATE_LIMIT", "on".into()),
        ("RATE_LIMIT_IP", quotas.ip.to_string()),
        ("RATE_LIMIT_ADDRESS", quotas.address.to_string()),
        ("RATE_LIMIT_REFRESH_IP", quotas.refresh_ip.to_string()),
        ("RATE_LIMIT_SESSION", quotas.session.to_string()),
        ("RATE_LIMIT_NEW_ACCOUNTS", quotas.new_accounts.to_string()),
        ("RATE_LIMIT_READ_IP", quotas.read_ip.to_string()),
        ("RATE_LIMIT_READ_SESSION", quotas.read_session.to_string()),
    ]
}
