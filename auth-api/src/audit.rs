//! Audit events (log target `audit`): who started, used and ended which session, from which
//! address, and why a request was rejected. docs/audit.md describes each field. No event contains a
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

/// Logs a login that started a session.
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

/// Logs that a cookie session was extended and its token replaced.
pub(crate) fn renew(session_id: SessionId, account_id: AccountId) {
    tracing::info!(target: "audit", event = "renew", %session_id, %account_id, "cookie renewed");
}

/// Logs a rejected login with the reason, which the response does not contain.
pub(crate) fn login_refused(client: &Client, wallet: Option<&str>, reason: &str) {
    let (ip, user_agent) = (display(client.ip), client.user_agent.as_deref());
    tracing::info!(target: "audit", event = "login_refused", reason, wallet, ip, user_agent, "login rejected");
}

/// Logs the use of a refresh token. `retry` is `true` if the same refresh token was issued again.
pub(crate) fn refresh(client: &Client, session_id: SessionId, account_id: AccountId, retry: bool) {
    let ip = display(client.ip);
    tracing::info!(target: "audit", event = "refresh", %session_id, %account_id, retry, ip, "refreshed");
}

/// Logs a rejected refresh with the reason, which the response does not contain.
pub(crate) fn refresh_refused(client: &Client, session_id: Option<SessionId>, reason: &str) {
    let (ip, session_id) = (display(client.ip), session_id.map(display));
    tracing::info!(target: "audit", event = "refresh_refused", reason, session_id, ip, "refresh rejected");
}

/// Logs that a client retried a refresh from an unknown network: the token's family (all refresh
/// tokens of the session) was last used from other networks. The client presented a replaced
/// refresh token within the grace period, so the retry is accepted. `generations` is the number of
/// consecutive tokens of the family with such a retry.
pub(crate) fn foreign_retry(client: &Client, session_id: SessionId, generations: i32) {
    let ip = display(client.ip);
    tracing::warn!(target: "audit", event = "foreign_retry", %session_id, generations, ip, "refresh retried from another network");
}

/// Logs that a refresh token or a cookie was probably copied, and that its session was revoked. The
/// possible reasons are:
///
/// - `used_up`: a credential was presented that had already been replaced.
/// - `foreign_generations`: too many consecutive refresh tokens of the session had retries from
///   other networks.
pub(crate) fn reuse(client: &Client, session_id: SessionId, reason: &'static str) {
    let ip = display(client.ip);
    tracing::warn!(
        target: "audit", event = "reuse", %session_id, reason, ip, "replaced credential presented; its session is revoked");
}

/// Logs a refresh token or cookie that has a valid tag (a keyed hash) but was never issued. Only a
/// party that has `AUTH_SECRET` can make such a token.
pub(crate) fn forged_token(client: &Client, session_id: SessionId, route: &'static str) {
    let ip = display(client.ip);
    tracing::warn!(target: "audit", event = "forged_token", %session_id, route, ip, "token forged with AUTH_SECRET");
}

/// The party that ended a session.
pub(crate) enum RevokedBy {
    /// A rule of this server, or a client that was not identified.
    Rule,
    /// The session's owner.
    Account(AccountId),
    /// Another service, which holds one of the session's tokens.
    Client(ClientId),
    /// An operator. Operators share one token, so they are not identified by name.
    Operator,
}

/// Logs that a session was revoked.
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

/// Logs a request from another service (introspection or revocation) with missing or wrong client
/// credentials. `client_id` is the id that the request claims.
pub(crate) fn client_refused(client: &Client, client_id: Option<&str>, route: &'static str) {
    let ip = display(client.ip);
    tracing::warn!(target: "audit", event = "client_refused", client_id, route, ip, "introspection client rejected");
}

/// Logs a request that exceeded a rate limit. `wallet` is set only if the limit applies to a
/// wallet. In this case, the wallet's signature has already been verified.
pub(crate) fn limit(ip: IpAddr, route: Route, scope: Scope, wallet: Option<&str>) {
    let (route, scope) = (route.as_str(), scope.as_str());
    tracing::info!(target: "audit", event = "limit", route, scope, wallet, %ip, "rate limit exceeded");
}

/// Logs the number of rejections that were not logged individually, because a rejection of the same
/// kind had been logged shortly before.
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

/// Logs that an operator disabled, enabled or deleted an account.
pub(crate) fn account(event: &'static str, account_id: AccountId, wallet: &str, sessions: usize) {
    tracing::info!(target: "audit", event, %account_id, wallet, sessions, "account changed");
}

/// How an operator sent a request.
#[derive(Clone, Copy)]
pub(crate) enum Operator<'c> {
    /// The operator sent an HTTP request to the operators' endpoints.
    Http(&'c Client),
    /// The operator ran a command on a machine that can connect to PostgreSQL and Redis.
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

/// Logs a request to the operators' endpoints without a valid operators' token.
pub(crate) fn admin_refused(client: &Client, route: Option<&str>, reason: &str) {
    let (ip, user_agent) = (display(client.ip), client.user_agent.as_deref());
    tracing::warn!(target: "audit", event = "admin_refused", reason, route, ip, user_agent, "operator request rejected");
}

/// Logs that an operator listed sessions, with the filters and the number of sessions returned.
pub(crate) fn admin_list(
    operator: Operator<'_>,
    order: &str,
    filters: &impl Display,
    sessions: usize,
) {
    let (via, ip, filters) = (operator.via(), operator.ip().map(display), display(filters));
    tracing::info!(target: "audit", event = "admin_list", who = "admin", via, order, filters, sessions, ip, "sessions listed");
}

/// Logs that an operator revoked sessions, or counted them in a dry run. A separate event is logged
/// for each revoked session.
pub(crate) fn admin_revoke(operator: Operator<'_>, filters: &impl Display, done: Done) {
    let (via, ip, filters) = (operator.via(), operator.ip().map(display), display(filters));
    let Done { matched, revoked, dry_run } = done;
    tracing::info!(
        target: "audit", event = "admin_revoke", who = "admin", via, filters, matched, revoked, dry_run, ip,
        "sessions revoked by an operator");
}
