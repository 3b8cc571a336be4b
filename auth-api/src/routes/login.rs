//! POST /auth/login: exchanges a signed challenge for a session.

use std::sync::Arc;
use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, web};
use chrono::{DateTime, Utc};
use diesel_async::AsyncConnection as _;
use schema::accounts::Account;
use schema::challenges::{self, Consumed};
use schema::families::NewTokenFamily;
use schema::ids::{AccountId, SessionId, TokenHash};
use schema::issued::FamilyKey;
use schema::networks::Networks;
use schema::sessions::{Begun, Ended, NewSession, Session};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::tokens::{self, Pair};
use crate::audit::{self, RevokedBy};
use crate::credentials::access_token::Grant;
use crate::credentials::{
    AnsweredChallenge, ChallengeRefused, RefreshToken, SessionToken, Signature, fresh_family_key,
};
use crate::database::{DatabaseError, timed};
use crate::domain::Transport;
use crate::http::api_spec::example;
use crate::http::cookie::CookieLookup;
use crate::http::guard::{self, Origin};
use crate::http::limit::{count_refused, limit, limit_wallet, show};
use crate::http::{Client, Json, Problem, api_spec};
use crate::limits::{Route, Scope, Verdict};
use crate::metrics::{self, LoginOutcome};
use crate::state::State;

/// A signed challenge.
#[derive(Deserialize, ToSchema)]
#[schema(as = LoginRequest)]
#[serde(deny_unknown_fields)]
pub(super) struct Request {
    /// The `message` of the challenge, byte for byte.
    #[schema(examples(json!(example::MESSAGE)))]
    message: String,
    /// The wallet's signature (SEP-53): Ed25519 over SHA-256("Stellar Signed Message:\n" ‖
    /// message), encoded as padded base64 or as hex.
    #[schema(
        pattern = "^([A-Za-z0-9+/]{85}[AQgw]==|[0-9A-Fa-f]{128})$",
        min_length = 88,
        max_length = 128,
        examples(json!(example::SIGNATURE))
    )]
    signature: String,
    /// The transport of the new session. The default is `token`.
    #[serde(default)]
    transport: Transport,
}

/// A session whose transport is a cookie.
#[derive(Serialize, ToSchema)]
#[schema(as = CookieSession)]
pub(super) struct CookieAnswer {
    /// The session's id.
    #[schema(examples(json!(example::SESSION_ID)))]
    session_id: Uuid,
    /// When the session expires. Each use can extend this time (sliding expiration).
    #[schema(examples("2026-12-21T09:00:07Z"))]
    expires_at: DateTime<Utc>,
}

/// The response to a login.
#[derive(ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only the API specification uses this type")]
pub(super) enum LoginAnswer {
    Token(tokens::Answer<'static>),
    Cookie(CookieAnswer),
}

/// The credential of the new session. The server generates the credential, and only the client
/// stores it.
enum NewCredential {
    Token { token: RefreshToken, key: FamilyKey },
    Cookie(SessionToken),
}

/// A login that passed all checks that do not need the database.
struct Login {
    challenge: AnsweredChallenge,
    client: Client,
    transport: Transport,
    /// The session that this login ends and replaces, and the hash of its cookie's token. Set if
    /// the request contains the cookie of a session and the new session also uses a cookie.
    replaced: Option<(SessionId, TokenHash)>,
}

/// A new session.
struct CreatedSession {
    account_id: AccountId,
    session_id: SessionId,
    times: Begun,
    credential: NewCredential,
    /// The older sessions that this login ended.
    ended: Vec<Ended>,
    /// Whether the login created the account.
    new_account: bool,
    /// The result of the limit on new accounts, if the login created an account.
    counted: Option<Verdict>,
}

/// The result of a login, successful or not.
struct LoginResult {
    /// The result of the limit on new accounts, if the login created an account or would have
    /// created one.
    counted: Option<Verdict>,
    result: Result<(Login, CreatedSession), Problem>,
}

/// The reason why a login failed.
enum LoginFailure {
    Reason(LoginOutcome),
    /// The client's network has reached its limit on new accounts.
    TooManyAccounts(Verdict, Duration),
    Database(DatabaseError),
    Random(getrandom::Error),
}

/// Log in with a signed challenge
///
/// Verifies the signature of a challenge and creates a session. The first login of a wallet also
/// creates the wallet's account.
///
/// With `transport: "token"`, the response contains an access token and a refresh token. With
/// `transport: "cookie"`, the response sets a cookie that scripts cannot read, and the body
/// contains no token. If the request already contains a valid session cookie, a login with
/// `transport: "cookie"` replaces the cookie and ends the old session.
#[utoipa::path(
    post,
    path = "/auth/login",
    operation_id = "login",
    tag = "auth",
    request_body = Request,
    responses(
        (status = 200, description = "The session was created.",
         content((inline(LoginAnswer) = "application/json", examples(
            ("token" = (summary = "transport: token", value = json!({
                "access_token": example::ACCESS_TOKEN, "token_type": "Bearer", "expires_in": 900, "refresh_token": example::REFRESH_TOKEN,
                "refresh_expires_at": "2026-12-21T09:00:07Z", "session_id": example::SESSION_ID
            }))),
            ("cookie" = (summary = "transport: cookie", value = json!({
                "session_id": example::SESSION_ID, "expires_at": "2026-12-21T09:00:07Z"
            })))
         ))),
         headers(("Set-Cookie" = String, description = "The session cookie, with `transport: \"cookie\"`."))),
        api_spec::Work, api_spec::Change, api_spec::Body, api_spec::Limited, api_spec::Login
    )
)]
pub(super) async fn post(
    http: HttpRequest,
    state: web::Data<State>,
    request: Result<Json<Request>, Problem>,
) -> Result<HttpResponse, Problem> {
    let client = Client::of(&http, &state.trusted_proxies);
    limit(&http, &state, Route::Login, client.ip, None)
        .await
        .inspect_err(|_| LoginOutcome::Limited.count())?;
    let Json(request) = request.inspect_err(|_| LoginOutcome::Malformed.count())?;
    // Without this check, an attacker's page could log the browser in to the attacker's session
    // (login CSRF).
    if request.transport == Transport::Cookie && guard::origin(&http, &state) == Origin::Foreign {
        audit::login_refused(&client, None, "a page of another origin");
        return Err(Problem::ForbiddenOrigin);
    }
    let signature = Signature::parse(&request.signature).map_err(|error| {
        LoginOutcome::Malformed.count();
        Problem::malformed("signature", error.to_string())
    })?;
    let challenge = match state.challenges.verify(&request.message, &signature, state.now()?) {
        Ok(challenge) => challenge,
        Err(reason) => {
            let outcome = match reason {
                ChallengeRefused::BadSignature => LoginOutcome::BadSignature,
                _ => LoginOutcome::BadChallenge,
            };
            return Err(refuse(&client, None, outcome, &reason.to_string()));
        }
    };
    // The wallet's limit applies only from here on, because the signature has now proved that the
    // wallet sent the request.
    let limited = limit_wallet(&http, &state, client.ip, challenge.address.as_str()).await;
    limited.inspect_err(|_| LoginOutcome::Limited.count())?;
    let login = Login {
        client,
        transport: request.transport,
        replaced: replaced(&http, &state, request.transport),
        challenge,
    };
    let shared = Arc::clone(&state);
    let LoginResult { counted, result } =
        state.tasks.finish(async move { log_in(&shared, login).await }).await?;
    if let Some(verdict) = counted {
        show(&http, verdict);
    }
    let (login, created) = result?;
    let CreatedSession { session_id, times, .. } = created;
    match created.credential {
        NewCredential::Token { token: refresh_token, .. } => {
            let grant = Grant {
                session_id,
                account_id: created.account_id,
                wallet: login.challenge.address.as_str(),
                authenticated_at: times.created_at,
                now: times.created_at,
                session_expires_at: times.expires_at,
            };
            Pair { grant, refresh_token, refresh_expires_at: times.expires_at }.answer(&state)
        }
        NewCredential::Cookie(token) => {
            let lifetime = (times.expires_at - times.created_at).to_std().unwrap_or_default();
            let answer = CookieAnswer { session_id: session_id.0, expires_at: times.expires_at };
            Ok(HttpResponse::Ok().cookie(state.cookie.set_cookie(&token, lifetime)).json(answer))
        }
    }
}

/// Returns the session of the cookie in the request, with the hash of the cookie's token, if the
/// new session also uses a cookie. The new cookie replaces the old one, so the old session ends.
fn replaced(
    http: &HttpRequest,
    state: &State,
    transport: Transport,
) -> Option<(SessionId, TokenHash)> {
    let (Transport::Cookie, CookieLookup::One(value)) = (transport, state.cookie.presented(http))
    else {
        return None;
    };
    let token = SessionToken::parse(&value, &state.secrets).ok()?;
    Some((token.session_id(), token.hash()))
}

/// Records why a login was rejected. The client gets the same response for every reason.
fn refuse(client: &Client, wallet: Option<&str>, outcome: LoginOutcome, reason: &str) -> Problem {
    audit::login_refused(client, wallet, reason);
    outcome.count();
    Problem::LoginRefused
}

/// Creates a session and adds the sessions that the login ended to the denylist. Also updates the
/// metrics and the audit log, because this function completes even if the client disconnects.
async fn log_in(state: &State, login: Login) -> LoginResult {
    let wallet = login.challenge.address.as_str();
    match create_session(state, &login).await {
        Ok(mut created) => {
            let ended: Vec<SessionId> = created.ended.iter().map(|ended| ended.id).collect();
            state.denylist.deny(&ended).await;
            if let NewCredential::Token { key, .. } = &created.credential {
                state.family_keys.keep(created.session_id, key.clone());
            }
            LoginOutcome::Success.count();
            metrics::count_created(login.transport, created.new_account);
            audit::login(
                &login.client,
                wallet,
                created.account_id,
                created.session_id,
                login.transport,
            );
            for Ended { id, reason } in &created.ended {
                metrics::count_revoked(*reason, 1);
                audit::revoke(
                    Some(&login.client),
                    *id,
                    &RevokedBy::Account(created.account_id),
                    *reason,
                );
            }
            LoginResult { counted: created.counted.take(), result: Ok((login, created)) }
        }
        Err(LoginFailure::TooManyAccounts(verdict, wait)) => {
            LoginOutcome::Limited.count();
            count_refused(state, (Route::Login, login.client.ip, None), Scope::NewAccounts);
            LoginResult { counted: Some(verdict), result: Err(Problem::RateLimited { wait }) }
        }
        Err(LoginFailure::Reason(outcome)) => {
            LoginResult::failed(refuse(&login.client, Some(wallet), outcome, outcome.as_str()))
        }
        Err(LoginFailure::Database(error)) => {
            LoginOutcome::Unavailable.count();
            LoginResult::failed(error.into())
        }
        Err(LoginFailure::Random(error)) => {
            LoginOutcome::Unavailable.count();
            LoginResult::failed(error.into())
        }
    }
}

impl LoginResult {
    fn failed(problem: Problem) -> Self {
        Self { counted: None, result: Err(problem) }
    }
}

/// Runs the login transaction. It locks the account's row first, so logins to one account run one
/// after another. Therefore, the number of sessions never exceeds the limit, and the session of the
/// login that commits last is never ended by an earlier login.
async fn create_session(state: &State, login: &Login) -> Result<CreatedSession, LoginFailure> {
    let session_id = SessionId::generate();
    let Login { challenge, client, replaced, .. } = login;
    let credential = match login.transport {
        Transport::Token => fresh_family_key().and_then(|key| {
            let token = RefreshToken::generate(&state.secrets, Some(&key), session_id, 0)?;
            Ok(NewCredential::Token { token, key })
        }),
        Transport::Cookie => {
            SessionToken::generate(&state.secrets, session_id).map(NewCredential::Cookie)
        }
    };
    let credential = credential.map_err(LoginFailure::Random)?;
    let issuer = state.network.caip2();
    let (lifetimes, limit) = (state.lifetimes, state.session_limit);

    let mut connection = state.database.acquire().await?;
    let watch = connection.watch();
    // `true` if the transaction ended sessions and then reached its commit.
    let mut may_have_ended = false;
    let transaction = connection.transaction(async |connection| {
        let account = Account::log_in(connection, issuer, challenge.address.as_str()).await?;
        if account.disabled_at.is_some() {
            return Err(LoginFailure::Reason(LoginOutcome::Disabled));
        }
        match challenges::consume(connection, challenge.nonce_hash, challenge.expires_at).await? {
            Consumed::Now => {}
            Consumed::Before => return Err(LoginFailure::Reason(LoginOutcome::Replayed)),
            Consumed::Expired => return Err(LoginFailure::Reason(LoginOutcome::BadChallenge)),
        }
        let counted = if account.is_new { count_account(state, client).await? } else { None };
        let session = NewSession {
            id: session_id,
            account_id: account.id,
            token_hash: match &credential {
                NewCredential::Token { .. } => None,
                NewCredential::Cookie(token) => Some(token.hash()),
            },
            user_agent: client.user_agent.clone(),
            ip: Some(client.ip),
            ttl: lifetimes.session,
            max_age: lifetimes.session_max_age,
        };
        let times = session.insert(connection).await?;
        if let NewCredential::Token { token, key } = &credential {
            let networks = Networks::of(client.ip);
            let family = NewTokenFamily::new(
                session_id,
                times.created_at,
                key.clone(),
                token.hash(),
                networks,
            );
            family.insert(connection).await?;
        }
        let ended =
            Session::enforce_session_limit(connection, account.id, session_id, *replaced, limit)
                .await?;
        may_have_ended = !ended.is_empty();
        Ok((account, times, ended, counted))
    });
    let committed = timed(watch, "login", transaction).await;
    // If the commit got no response, the transaction may have been committed. In that case, the
    // sessions that it ended must be denied. After a failure before the commit, such as a failure
    // to get a connection, no session has ended, and the denylist must stay valid: otherwise, under
    // load, every process would send every lookup to a database that is already overloaded.
    if may_have_ended && matches!(committed, Err(LoginFailure::Database(_))) {
        state.denylist.doubt();
    }
    let (account, times, ended, counted) = committed?;
    let (account_id, new_account) = (account.id, account.is_new);
    Ok(CreatedSession { account_id, session_id, times, credential, ended, new_account, counted })
}

/// Counts an account that the transaction created against the limit on new accounts. The limit does
/// not apply to logins to existing accounts, and only the transaction shows, without a further
/// query, whether the account is new. If the limit is exceeded, the transaction is rolled back, and
/// the challenge remains unused.
async fn count_account(state: &State, client: &Client) -> Result<Option<Verdict>, LoginFailure> {
    let Some(verdict) = state.limits.count_new_account(client.ip).await else { return Ok(None) };
    match verdict.refused {
        Some((_, wait)) => Err(LoginFailure::TooManyAccounts(verdict, wait)),
        None => Ok(Some(verdict)),
    }
}

impl From<DatabaseError> for LoginFailure {
    fn from(error: DatabaseError) -> Self {
        Self::Database(error)
    }
}

impl From<diesel::result::Error> for LoginFailure {
    fn from(error: diesel::result::Error) -> Self {
        Self::Database(error.into())
    }
}
