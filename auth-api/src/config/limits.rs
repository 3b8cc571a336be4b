//! How often one may ask, and who is believed about where a request comes from.

use clap::Args;

use super::config_errors::ConfigErrors;
use super::{ProxyHeader, TrustedProxies};
use crate::limits::{Quota, Quotas};

/// What can be set of it, as it was written.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct LimitOptions {
    /// `on` or `off` [default: on]
    #[arg(long, env)]
    rate_limit: Option<String>,
    /// Challenges, logins, and wrong credentials of clients, each from one network: an IPv4
    /// address, a /64 of IPv6; a /56 has 4 times as many, a /48 64 times [default: 120/1m]
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
    /// Accounts made by first logins from one IPv4 /24 or IPv6 /48; logins of accounts that exist
    /// do not count [default: 500/1h]
    #[arg(long, env)]
    rate_limit_new_accounts: Option<String>,
    /// Requests with an access token or a cookie, and requests of other services without
    /// credentials, each from one network; counted by each process for itself [default: 6000/1m]
    #[arg(long, env)]
    rate_limit_read_ip: Option<String>,
    /// Requests with an access token or a cookie of one session, counted by each process for
    /// itself [default: 600/1m]
    #[arg(long, env)]
    rate_limit_read_session: Option<String>,
    /// Addresses and networks, comma-separated, of proxies whose `PROXY_HEADER` is believed
    /// [default: none]
    #[arg(long, env)]
    trusted_proxies: Option<String>,
    /// The header in which those proxies name the client: `x-forwarded-for` or `forwarded`; the
    /// other is ignored [default: x-forwarded-for]
    #[arg(long, env)]
    proxy_header: Option<String>,
}

// A person logs in a few times a day, but an office or a carrier may stand behind one address, and
// a suite of tests on one machine. So these leave room for hundreds of people, and bound what
// costs: a signature that is verified (a tenth of a millisecond), and a session that is stored
// (anybody can make wallets).
const IP: &str = "120/1m";
// Only a wallet's own signature counts. Each login is a row and a transaction that waits for the
// others of its account: this bounds a client that loops, on however many hosts.
const ADDRESS: &str = "240/1m";
// Every session refreshes each ACCESS_TOKEN_TTL: this is 9,000 of them behind one address. A
// refresh stores nothing new.
const REFRESH_IP: &str = "600/1m";
// Tabs that wake together, and retries.
const SESSION: &str = "30/1m";
// A wallet costs nothing, and an account stays. So many people come anew only where a service is
// announced to a whole hall; an attacker gets 12,000 accounts a day from a network instead of
// 172,800 from each address.
const NEW_ACCOUNTS: &str = "500/1h";
// Each takes a signature check (a tenth of a millisecond) and one or two reads by key. A back end
// that serves pages for many people asks from one address: a hundred a second are a few per cent of
// what a process answers.
const READ_IP: &str = "6000/1m";
// No page asks ten times a second.
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

/// What is in force, as variables.
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
