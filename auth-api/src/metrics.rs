//! All metrics of the API: names, help texts and series. Series are created at startup, so that
//! their rates are defined before the first event.

use std::collections::{HashMap, HashSet};
use std::sync::OnceLock;

use ::metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use actix_web::http::{Method, StatusCode};
use chrono::{DateTime, Utc};
use hardening::revision::REVISION;
use schema::sessions::RevokedReason;

use crate::clock;
use crate::credentials::signing_keys::SigningKeys;
use crate::domain::Transport;
use crate::limits::Route;

pub(crate) const HTTP_REQUEST: &str = "auth_api_http_request_duration_seconds";
pub(crate) const HTTP_IN_FLIGHT: &str = "auth_api_http_requests_in_flight";
pub(crate) const CONNECTIONS: &str = "auth_api_connections";
pub(crate) const CONNECTIONS_MAX: &str = "auth_api_connections_max";
pub(crate) const CONNECTIONS_MAX_NETWORK: &str = "auth_api_connections_per_network_max";
pub(crate) const CONNECTIONS_CLOSED: &str = "auth_api_connections_closed_total";
pub(crate) const DENYLIST_LOOKUP: &str = "auth_api_denylist_lookup_duration_seconds";
pub(crate) const DENYLIST_ERRORS: &str = "auth_api_denylist_errors_total";
pub(crate) const DENYLIST_SYNCED: &str = "auth_api_denylist_synced_timestamp_seconds";
pub(crate) const REDIS_COMMAND: &str = "auth_api_redis_command_duration_seconds";
pub(crate) const RATE_LIMITED: &str = "auth_api_rate_limited_total";
pub(crate) const DB_CONNECTIONS: &str = "auth_api_db_connections";
pub(crate) const DB_CONNECTIONS_MAX: &str = "auth_api_db_connections_max";
pub(crate) const DB_ACQUIRE: &str = "auth_api_db_acquire_duration_seconds";
pub(crate) const DB_ACQUIRE_TIMEOUTS: &str = "auth_api_db_acquire_timeouts_total";
pub(crate) const DB_QUERY: &str = "auth_api_db_query_duration_seconds";
pub(crate) const SIGNING_KEY_CREATED: &str = "auth_api_signing_key_created_timestamp_seconds";
pub(crate) const TOUCHES_DROPPED: &str = "auth_api_touches_dropped_total";
pub(crate) const INTROSPECTIONS: &str = "auth_api_introspections_total";
const RELOAD_SUCCESSFUL: &str = "auth_api_config_last_reload_successful";
const RELOAD_SUCCESS: &str = "auth_api_config_last_reload_success_timestamp_seconds";
const BUILD_INFO: &str = "auth_api_build_info";
const LOGINS: &str = "auth_api_logins_total";
const REFRESHES: &str = "auth_api_refreshes_total";
const COOKIE_RENEWALS: &str = "auth_api_cookie_renewals_total";
const ACCOUNTS_CREATED: &str = "auth_api_accounts_created_total";
const FOREIGN_GENERATIONS: &str = "auth_api_foreign_generations_total";
const FORGED_TOKENS: &str = "auth_api_forged_tokens_total";
const SESSIONS_CREATED: &str = "auth_api_sessions_created_total";
const SESSIONS_REVOKED: &str = "auth_api_sessions_revoked_total";

/// All names under which queries are timed.
const QUERIES: [&str; 20] = [
    "login",
    "rotate",
    "extend_session",
    "refresh_read",
    "refresh_second_look",
    "issued_for_session",
    "revoke_session",
    "find_live_session",
    "list_sessions",
    "revoke_own_session",
    "revoke_all_sessions",
    "touch_sessions",
    "renew_cookie",
    "confirm_cookie",
    "session_is_live",
    "sessions_revoked_within",
    "database_now",
    "browse_sessions",
    "browse_by_activity",
    "sweep_sessions",
];

/// The result of a login, as a label in metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum LoginOutcome {
    /// A session started.
    Success,
    /// The challenge was not issued by this deployment, is for another domain or chain, or has
    /// expired.
    BadChallenge,
    /// The wallet did not make the signature.
    BadSignature,
    /// The challenge had already been used.
    Replayed,
    /// The account is disabled.
    Disabled,
    /// The request was malformed.
    Malformed,
    /// A rate limit was exceeded.
    Limited,
    /// The database was unavailable.
    Unavailable,
}

impl LoginOutcome {
    const ALL: &'static [Self] = <Self as strum::VariantArray>::VARIANTS;

    /// Returns the value of the label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    pub(crate) fn count(self) {
        counter!(LOGINS, "outcome" => self.as_str()).increment(1);
    }
}

/// The result of a refresh, as a label in metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum RefreshOutcome {
    /// A new pair of tokens was issued.
    Success,
    /// The request was a retry, and the same refresh token was returned again.
    Retry,
    /// The next token can no longer be returned, because it was replaced while the request waited,
    /// or because it cannot be decrypted. The session continues.
    Superseded,
    /// The client disconnected before auth-api had decided about the request. The session
    /// continues.
    HungUp,
    /// A replaced token was presented. The session was revoked.
    Reuse,
    /// The token is genuine, but the database does not contain its session, or contains only
    /// earlier tokens of the session: the database was restored from a backup, or the session was
    /// deleted.
    Unknown,
    /// The token was not issued by this deployment.
    Forged,
    /// The session has expired.
    Expired,
    /// The session was revoked.
    Revoked,
    /// The request was malformed.
    Malformed,
    /// A rate limit was exceeded.
    Limited,
    /// The database was unavailable.
    Unavailable,
}

impl RefreshOutcome {
    const ALL: &'static [Self] = <Self as strum::VariantArray>::VARIANTS;

    /// Returns the value of the label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    pub(crate) fn count(self) {
        counter!(REFRESHES, "outcome" => self.as_str()).increment(1);
    }
}

/// The result of a cookie renewal, as a label in metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum CookieRenewalOutcome {
    /// The session was extended and has a new token.
    Renewed,
    /// The database did not accept the renewal. The next request tries again.
    Failed,
}

impl CookieRenewalOutcome {
    const ALL: &'static [Self] = <Self as strum::VariantArray>::VARIANTS;

    /// Returns the value of the label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    pub(crate) fn count(self) {
        counter!(COOKIE_RENEWALS, "outcome" => self.as_str()).increment(1);
    }
}

/// Counts a refresh token that was retried from another network. Must be called only for the first
/// such retry of each token.
pub(crate) fn count_foreign_generation() {
    counter!(FOREIGN_GENERATIONS).increment(1);
}

/// The routes that can end the session of a presented token.
pub(crate) const ENDING_ROUTES: [&str; 3] = ["/auth/refresh", "/auth/logout", "/oauth/revoke"];

/// Counts a token that was created with `AUTH_SECRET` but never issued.
pub(crate) fn count_forged_token(route: &'static str) {
    counter!(FORGED_TOKENS, "route" => route).increment(1);
}

/// Counts a new session. `new_account` is `true` if the login that started the session created the
/// account.
pub(crate) fn count_created(transport: Transport, new_account: bool) {
    counter!(SESSIONS_CREATED, "transport" => transport.as_str()).increment(1);
    counter!(ACCOUNTS_CREATED).increment(new_account.into());
}

pub(crate) fn count_revoked(reason: RevokedReason, sessions: usize) {
    counter!(SESSIONS_REVOKED, "reason" => reason.as_str()).increment(sessions as u64);
}

/// The `route` label of requests without an endpoint: unknown paths, other methods, and CORS
/// preflight requests.
const UNMATCHED: &str = "unmatched";
/// The status for a request whose client disconnected before the response. Proxies log the same
/// status.
pub(crate) const CLIENT_CLOSED_REQUEST: u16 = 499;

/// Returns the value of the `method` label. The set of values is fixed, whatever methods clients
/// send.
pub(crate) fn method(method: &Method) -> &'static str {
    METHODS.iter().find(|known| **known == method.as_str()).copied().unwrap_or("other")
}

const METHODS: [&str; 7] = ["GET", "POST", "DELETE", "PUT", "PATCH", "HEAD", "OPTIONS"];

/// The routes that have an endpoint, by method.
static ROUTES: OnceLock<HashMap<&'static str, HashSet<String>>> = OnceLock::new();

/// Returns the value of the `route` label: `template` if it has an endpoint for the method,
/// otherwise [`UNMATCHED`].
pub(crate) fn route(method: &'static str, template: Option<String>) -> String {
    let has_endpoint = |template: &String| {
        ROUTES
            .get()
            .and_then(|routes| routes.get(method))
            .is_some_and(|routes| routes.contains(template))
    };
    template.filter(has_endpoint).unwrap_or_else(|| UNMATCHED.to_owned())
}

/// Creates the series that count requests, for each of these combinations of method, route and
/// status. Also stores the routes, so that [`route`] recognizes them.
pub(crate) fn expect_answers(answers: Vec<(Method, String, StatusCode)>) {
    let expect = |method: &'static str, route: String, status: u16| {
        let _ = histogram!(HTTP_REQUEST, "method" => method, "route" => route, "status" => status.to_string());
    };
    let mut routes = HashMap::<_, HashSet<_>>::new();
    for (requested, route, status) in answers {
        let requested = method(&requested);
        for status in [
            status.as_u16(),
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE.as_u16(),
            CLIENT_CLOSED_REQUEST,
        ] {
            expect(requested, route.clone(), status);
        }
        routes.entry(requested).or_default().insert(route);
    }
    // A second application in the same process has the same routes.
    let _ = ROUTES.set(routes);
    for method in METHODS.into_iter().chain(["other"]) {
        // 401 is the status of unknown paths under /admin.
        for status in [401, 404, 405, 431] {
            expect(method, UNMATCHED.to_owned(), status);
        }
    }
    for status in [200, 400] {
        expect("OPTIONS", UNMATCHED.to_owned(), status);
    }
}

/// Converts a time to the value of a gauge: whole seconds since 1970.
#[allow(clippy::cast_precision_loss, reason = "seconds since 1970 fit")]
pub(crate) fn in_seconds(time: DateTime<Utc>) -> f64 {
    time.timestamp() as f64
}

/// Sets the creation times of the signing keys. For removed keys, call [`forget_signing_key`].
pub(crate) fn show_signing_keys(keys: &SigningKeys) {
    for (kid, made_at) in keys.made() {
        gauge!(SIGNING_KEY_CREATED, "kid" => kid.to_owned()).set(in_seconds(made_at));
    }
}

/// Sets the creation time of a removed key to 0.
pub(crate) fn forget_signing_key(kid: &str) {
    gauge!(SIGNING_KEY_CREATED, "kid" => kid.to_owned()).set(0);
}

/// Records whether the last reload succeeded, and the time of the last successful reload.
pub(crate) fn show_reload(good: bool, now: DateTime<Utc>) {
    gauge!(RELOAD_SUCCESSFUL).set(u8::from(good));
    if good {
        gauge!(RELOAD_SUCCESS).set(in_seconds(now));
    }
}

/// Describes all metrics and creates every series whose labels are known. The exception is the
/// series of requests (see [`expect_answers`]).
pub(crate) fn create() {
    describe_gauge!(BUILD_INFO, "Always 1; the labels identify the running version.");
    gauge!(BUILD_INFO, "version" => env!("CARGO_PKG_VERSION"), "revision" => REVISION).set(1);
    create_for_requests();
    create_for_sessions();
    create_for_stores();
    describe_gauge!(
        SIGNING_KEY_CREATED,
        "When a signing key was created, in seconds since 1970, by key id; 0 if the key was removed."
    );
    describe_gauge!(
        RELOAD_SUCCESSFUL,
        "1 if keys, secrets and clients were all read successfully at startup and at the last SIGHUP, otherwise 0."
    );
    describe_gauge!(
        RELOAD_SUCCESS,
        "When keys, secrets and clients were last all read successfully, in seconds since 1970."
    );
    show_reload(true, clock::host_now());
}

/// Describes and creates the metrics of connections, requests and rate limits.
fn create_for_requests() {
    describe_histogram!(HTTP_REQUEST, "Duration of requests, by method, route and status.");
    describe_gauge!(HTTP_IN_FLIGHT, "Requests in progress.");
    gauge!(HTTP_IN_FLIGHT).set(0);
    describe_gauge!(
        CONNECTIONS,
        "Connections to the API port, by whether a request is in progress."
    );
    for state in ["idle", "busy"] {
        gauge!(CONNECTIONS, "state" => state).set(0);
    }
    describe_gauge!(CONNECTIONS_MAX, "Maximum number of connections to the API port.");
    describe_gauge!(
        CONNECTIONS_MAX_NETWORK,
        "Maximum number of connections from one network to the API port."
    );
    describe_counter!(
        CONNECTIONS_CLOSED,
        "Connections closed because a limit was reached, by reason."
    );
    for reason in Closed::ALL {
        counter!(CONNECTIONS_CLOSED, "reason" => reason.as_str()).absolute(0);
    }
    describe_counter!(RATE_LIMITED, "Requests rejected by a rate limit, by route and scope.");
    for (route, scope) in
        Route::ALL.iter().flat_map(|route| route.scopes().iter().map(move |scope| (route, scope)))
    {
        counter!(RATE_LIMITED, "route" => route.as_str(), "scope" => scope.as_str()).absolute(0);
    }
}

/// Describes and creates the metrics of logins, sessions and their tokens.
fn create_for_sessions() {
    describe_counter!(LOGINS, "Logins, by outcome.");
    for outcome in LoginOutcome::ALL {
        counter!(LOGINS, "outcome" => outcome.as_str()).absolute(0);
    }
    describe_counter!(REFRESHES, "Refreshes, by outcome.");
    for outcome in RefreshOutcome::ALL {
        counter!(REFRESHES, "outcome" => outcome.as_str()).absolute(0);
    }
    describe_counter!(COOKIE_RENEWALS, "Renewals of cookies, by outcome.");
    for outcome in CookieRenewalOutcome::ALL {
        counter!(COOKIE_RENEWALS, "outcome" => outcome.as_str()).absolute(0);
    }
    describe_counter!(ACCOUNTS_CREATED, "Accounts created by the first login of a wallet.");
    counter!(ACCOUNTS_CREATED).absolute(0);
    describe_counter!(
        FOREIGN_GENERATIONS,
        "Generations of refresh tokens with a retry that came from another network and without its Idempotency-Key."
    );
    counter!(FOREIGN_GENERATIONS).absolute(0);
    describe_counter!(
        FORGED_TOKENS,
        "Refresh tokens and cookies created with AUTH_SECRET but never issued, by route."
    );
    for route in ENDING_ROUTES {
        counter!(FORGED_TOKENS, "route" => route).absolute(0);
    }
    describe_counter!(SESSIONS_CREATED, "Sessions started, by transport.");
    for transport in [Transport::Token, Transport::Cookie] {
        counter!(SESSIONS_CREATED, "transport" => transport.as_str()).absolute(0);
    }
    describe_counter!(SESSIONS_REVOKED, "Sessions revoked by this process, by reason.");
    for reason in RevokedReason::ALL {
        counter!(SESSIONS_REVOKED, "reason" => reason.as_str()).absolute(0);
    }
    describe_counter!(
        TOUCHES_DROPPED,
        "Last-seen updates that were dropped because the queue was full or the database failed."
    );
    counter!(TOUCHES_DROPPED).absolute(0);
    describe_counter!(
        INTROSPECTIONS,
        "Tokens introspected by other services, by whether they were active."
    );
    for outcome in ["active", "inactive"] {
        counter!(INTROSPECTIONS, "outcome" => outcome).absolute(0);
    }
}

/// Describes and creates the metrics of Redis and PostgreSQL.
fn create_for_stores() {
    describe_histogram!(
        DENYLIST_LOOKUP,
        "Time to determine whether a session is revoked, by source."
    );
    for source in ["redis", "postgres"] {
        let _ = histogram!(DENYLIST_LOOKUP, "source" => source);
    }
    describe_counter!(DENYLIST_ERRORS, "Redis commands that failed, by kind.");
    for kind in ["timeout", "connection", "other"] {
        counter!(DENYLIST_ERRORS, "kind" => kind).absolute(0);
    }
    describe_gauge!(
        DENYLIST_SYNCED,
        "When the denylist was last rebuilt from PostgreSQL, in seconds since 1970; 0 means not yet."
    );
    gauge!(DENYLIST_SYNCED).set(0);
    describe_histogram!(REDIS_COMMAND, "Duration of Redis commands, by command.");
    for command in ["lookup", "deny", "rebuild", "info", "limit"] {
        let _ = histogram!(REDIS_COMMAND, "command" => command);
    }
    describe_gauge!(DB_CONNECTIONS, "Connections to PostgreSQL, by state.");
    describe_gauge!(DB_CONNECTIONS_MAX, "Maximum number of connections to PostgreSQL.");
    describe_histogram!(DB_ACQUIRE, "Time spent waiting for a connection to PostgreSQL.");
    let _ = histogram!(DB_ACQUIRE);
    describe_counter!(
        DB_ACQUIRE_TIMEOUTS,
        "Attempts to get a connection to PostgreSQL that failed or timed out."
    );
    counter!(DB_ACQUIRE_TIMEOUTS).absolute(0);
    describe_histogram!(DB_QUERY, "Duration of queries, by name in the source code.");
    for query in QUERIES {
        let _ = histogram!(DB_QUERY, "query" => query);
    }
    for state in ["idle", "busy"] {
        gauge!(DB_CONNECTIONS, "state" => state).set(0);
    }
}

/// Why a connection of the API port was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "snake_case")]
pub(crate) enum Closed {
    /// The connection had been idle the longest, and the port was nearly full.
    #[strum(serialize = "port_full")]
    Port,
    /// The connection's network had reached its maximum number of connections, and this connection
    /// had been idle the longest among them.
    #[strum(serialize = "network_full")]
    Network,
    /// The connection was new, its network had reached its maximum number of connections, and all
    /// other connections of the network had a request in progress.
    Refused,
}

impl Closed {
    const ALL: &'static [Self] = <Self as strum::VariantArray>::VARIANTS;

    pub(crate) fn as_str(self) -> &'static str {
        self.into()
    }

    pub(crate) fn count(self, connections: usize) {
        if connections > 0 {
            counter!(CONNECTIONS_CLOSED, "reason" => self.as_str()).increment(connections as u64);
        }
    }
}
