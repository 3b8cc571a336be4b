//! What an auditor asks for, as events of the log target `audit`: who began, used and ended which
//! session, from where, and why not. docs/audit.md describes each field. No event carries a
//! credential.

use std::fmt::Display;
use std::net::IpAddr;

use schema::ids::{AccountId, SessionId};
use schema::sessions::RevokedReason;
use tracing::field::display;

use crate::admin::sweep::Done;
use crate::credentials::clients::ClientId;
use crate::domain::Transport;
use crate::http::Client;
use crate::limits::{Route, Scope};
use crate::repeats::{Kind, Sum};

/// A session began.
pub(crate) fn login(
    client: &Client,
    wallet: &str,
    account_id: AccountId,
    session_id: SessionId,
    transport: Transport,
) {
    let (ip, user_agent, transport) =
        (display(client.ip), client.user_agent.as_deref(), transport.as_str());
    tracing::info!(target: "audit", event = "login", %session_id, %account_id, wallet, transport, ip, user_agent, "logged in");
}

/// A cookie session slid and changed its token.
pub(crate) fn renew(session_id: SessionId, account_id: AccountId) {
    tracing::info!(target: "audit", event = "renew", %session_id, %account_id, "cookie renewed");
}

/// A login was refused, and why: the client is not told.
pub(crate) fn login_refused(client: &Client, wallet: Option<&str>, reason: &str) {
    let (ip, user_agent) = (display(client.ip), client.user_agent.as_deref());
    tracing::info!(target: "audit", event = "login_refused", reason, wallet, ip, user_agent, "login rejected");
}

/// A refresh token was used; `retry`: once more, within the grace.
pub(crate) fn refresh(client: &Client, session_id: SessionId, account_id: AccountId, retry: bool) {
    let ip = display(client.ip);
    tracing::info!(target: "audit", event = "refresh", %session_id, %account_id, retry, ip, "refreshed");
}

/// A refresh was refused, and why: the client is not told.
pub(crate) fn refresh_refused(client: &Client, session_id: Option<SessionId>, reason: &str) {
    let (ip, session_id) = (display(client.ip), session_id.map(display));
    tracing::info!(target: "audit", event = "refresh_refused", reason, session_id, ip, "refresh rejected");
}

/// A used-up refresh token was presented within the grace from another network than its family was
/// used from; `generations`: so many in a row had that.
pub(crate) fn foreign_retry(client: &Client, session_id: SessionId, generations: i32) {
    let ip = display(client.ip);
    tracing::warn!(target: "audit", event = "foreign_retry", %session_id, generations, ip, "refresh retried from another network");
}

/// Somebody has a copy of a refresh token or a cookie, and why we think so: it was `used_up`, or
/// retries came from other networks in too many generations (`foreign_generations`). The session
/// was revoked for it.
pub(crate) fn reuse(client: &Client, session_id: SessionId, reason: &'static str) {
    let ip = display(client.ip);
    tracing::warn!(
        target: "audit", event = "reuse", %session_id, reason, ip, "replaced credential presented; its session is revoked");
}

/// A refresh token or cookie is genuine by its tag, and was never issued: somebody has
/// `AUTH_SECRET`.
pub(crate) fn forged_token(client: &Client, session_id: SessionId, route: &'static str) {
    let ip = display(client.ip);
    tracing::warn!(target: "audit", event = "forged_token", %session_id, route, ip, "token forged with AUTH_SECRET");
}

/// Who ended a session.
pub(crate) enum RevokedBy {
    /// One of our rules, or somebody who is not known.
    Rule,
    /// Its owner.
    Account(AccountId),
    /// Another service, which holds a token of it.
    Client(ClientId),
    /// An operator, whom nobody knows by name.
    Operator,
}

/// A session was revoked.
pub(crate) fn revoke(
    client: Option<&Client>,
    session_id: SessionId,
    by: &RevokedBy,
    reason: RevokedReason,
) {
    let (account_id, client_id) = match by {
        RevokedBy::Rule | RevokedBy::Operator => (None, None),
        RevokedBy::Account(id) => (Some(display(id)), None),
        RevokedBy::Client(id) => (None, Some(display(id))),
    };
    let (ip, reason) = (client.map(|client| display(client.ip)), reason.as_str());
    tracing::info!(target: "audit", event = "revoke", %session_id, account_id, client_id, reason, ip, "session revoked");
}

/// A request for other services showed no credentials, or wrong ones; `client_id`: the client that
/// it says it is.
pub(crate) fn client_refused(client: &Client, client_id: Option<&str>, route: &'static str) {
    let ip = display(client.ip);
    tracing::warn!(target: "audit", event = "client_refused", client_id, route, ip, "introspection client rejected");
}

/// A request was over a rate limit; `wallet`: that of a wallet, which has signed it.
pub(crate) fn limit(ip: IpAddr, route: Route, scope: Scope, wallet: Option<&str>) {
    let (route, scope) = (route.as_str(), scope.as_str());
    tracing::info!(target: "audit", event = "limit", route, scope, wallet, %ip, "rate limit exceeded");
}

/// Refusals that have no event of their own, because one of the same kind had one shortly before.
pub(crate) fn repeated(sum: &Sum) {
    let (who, times, within_s) = (sum.who.as_deref(), sum.times, sum.within.as_secs());
    match sum.kind {
        Kind::Limit { route, scope } => tracing::info!(
            target: "audit", event = "repeated", of = "limit", route, scope, who, times, within_s, "rate limit exceeded repeatedly"),
        Kind::Client { route } => tracing::warn!(
            target: "audit", event = "repeated", of = "client_refused", route, who, times, within_s, "introspection clients rejected repeatedly"),
        Kind::Credential { reason } => tracing::info!(
            target: "audit", event = "repeated", of = "credential_refused", reason, who, times, within_s,
            "credentials rejected repeatedly"),
        Kind::Connection { reason } => tracing::warn!(
            event = "repeated",
            of = "network_connections_full",
            reason,
            who,
            times,
            within_s,
            "connection limit of a network reached"
        ),
    }
}

/// An account was disabled, enabled or deleted by an operator.
pub(crate) fn account(event: &'static str, account_id: AccountId, wallet: &str, sessions: usize) {
    tracing::info!(target: "audit", event, %account_id, wallet, sessions, "account changed");
}

/// Where an operator works.
#[derive(Clone, Copy)]
pub(crate) enum Operator<'c> {
    /// At the operations port.
    Http(&'c Client),
    /// On a machine that reaches the stores.
    Shell,
}

impl Operator<'_> {
    fn via(self) -> &'static str {
        match self {
            Self::Http(_) => "http",
            Self::Shell => "shell",
        }
    }

    fn ip(self) -> Option<IpAddr> {
        match self {
            Self::Http(client) => Some(client.ip),
            Self::Shell => None,
        }
    }
}

/// Somebody came to the operators' endpoints without their token.
pub(crate) fn admin_refused(client: &Client, route: Option<&str>, reason: &str) {
    let (ip, user_agent) = (display(client.ip), client.user_agent.as_deref());
    tracing::warn!(target: "audit", event = "admin_refused", reason, route, ip, user_agent, "operator request rejected");
}

/// An operator looked at sessions: which were asked for, and how many were told.
pub(crate) fn admin_list(
    operator: Operator<'_>,
    order: &str,
    filters: &impl Display,
    sessions: usize,
) {
    let (via, ip, filters) = (operator.via(), operator.ip().map(display), display(filters));
    tracing::info!(target: "audit", event = "admin_list", who = "admin", via, order, filters, sessions, ip, "sessions listed");
}

/// An operator ended sessions, or asked how many that would be. Each that ended has its own event,
/// too.
pub(crate) fn admin_revoke(operator: Operator<'_>, filters: &impl Display, done: Done) {
    let (via, ip, filters) = (operator.via(), operator.ip().map(display), display(filters));
    let Done { matched, revoked, dry_run } = done;
    tracing::info!(
        target: "audit", event = "admin_revoke", who = "admin", via, filters, matched, revoked, dry_run, ip,
        "sessions revoked by an operator");
}
