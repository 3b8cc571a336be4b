//! POST /auth/login: a signed challenge for a session.

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
use crate::http::api_spec::example;
use crate::http::caller::Transport;
use crate::http::cookie::CookieLookup;
use crate::http::guard::{self, Origin};
use crate::http::limit::{count_refused, limit, limit_wallet, show};
use crate::http::{Client, Json, Problem, api_spec};
use crate::limits::{Route, Scope, Verdict};
use crate::metrics::{self, LoginOutcome};
use crate::state::{DatabaseError, State, timed};

/// A signed challenge.
#[derive(Deserialize, ToSchema)]
#[schema(as = LoginRequest)]
#[serde(deny_unknown_fields)]
pub(super) struct Request {
    /// The challenge's message, byte for byte.
    #[schema(examples(json!(example::MESSAGE)))]
    message: String,
    /// By the wallet (SEP-53): ed25519 over SHA-256("Stellar Signed Message:\n" ‖ message), in
    /// padded base64 or in hex.
    #[schema(
        pattern = "^([A-Za-z0-9+/]{85}[AQgw]==|[0-9A-Fa-f]{128})$",
        min_length = 88,
        max_length = 128,
        examples(json!(example::SIGNATURE))
    )]
    signature: String,
    /// What is to carry the session.
    #[serde(default)]
    transport: Transport,
}

/// A session that a cookie carries.
#[derive(Serialize, ToSchema)]
#[schema(as = CookieSession)]
pub(super) struct CookieAnswer {
    /// The session's id.
    #[schema(examples(json!(example::SESSION_ID)))]
    session_id: Uuid,
    /// Its end, unless it is used before: it slides.
    #[schema(examples("2026-12-21T09:00:07Z"))]
    expires_at: DateTime<Utc>,
}

/// What a login is answered with.
#[derive(ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only the contract has them as one")]
pub(super) enum LoginAnswer {
    Token(tokens::Answer<'static>),
    Cookie(CookieAnswer),
}

/// What is to carry the session: it is ours to choose, and the client's alone to keep.
enum Carrier {
    Token { token: RefreshToken, key: FamilyKey },
    Cookie(SessionToken),
}

/// A login that may begin: everything that can be known without the database is right.
struct Login {
    challenge: AnsweredChallenge,
    client: Client,
    transport: Transport,
    /// The session whose cookie is replaced.
    replaced: Option<(SessionId, TokenHash)>,
}

/// A session that has begun.
struct Begin {
    account_id: AccountId,
    session_id: SessionId,
    times: Begun,
    carrier: Carrier,
    /// Older sessions that had to end for it.
    ended: Vec<Ended>,
    /// Whether it is the first session of its account.
    new_account: bool,
    /// How the new account was counted.
    counted: Option<Verdict>,
}

/// How a login ended.
struct Done {
    /// How the account that it would make was counted.
    counted: Option<Verdict>,
    result: Result<(Login, Begin), Problem>,
}

/// Why there is no session.
enum Refused {
    Reason(LoginOutcome),
    /// Its network has made as many accounts as it may.
    TooManyAccounts(Verdict, Duration),
    Database(DatabaseError),
    Random(getrandom::Error),
}

/// Log in with a signed challenge
///
/// With `transport: "cookie"` the session is in a cookie that no script can read, and the body has
/// no token. A login for a cookie over one that is still good ends the session of the old one.
#[utoipa::path(
    post,
    path = "/auth/login",
    operation_id = "login",
    tag = "auth",
    request_body = Request,
    responses(
        (status = 200, description = "A session has begun.",
         content((inline(LoginAnswer) = "application/json", examples(
            ("token" = (summary = "transport: token", value = json!({
                "access_token": example::ACCESS_TOKEN, "token_type": "Bearer", "expires_in": 900, "refresh_token": example::REFRESH_TOKEN,
                "refresh_expires_at": "2026-12-21T09:00:07Z", "session_id": example::SESSION_ID
            }))),
            ("cookie" = (summary = "transport: cookie", value = json!({
                "session_id": example::SESSION_ID, "expires_at": "2026-12-21T09:00:07Z"
            })))
         ))),
         headers(("Set-Cookie" = String, description = "The session, with `transport: \"cookie\"`."))),
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
    // A cookie that somebody else's page has set would be a session of the attacker's choosing
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
    // Only now is it the wallet's own request.
    let limited = limit_wallet(&http, &state, client.ip, challenge.address.as_str()).await;
    limited.inspect_err(|_| LoginOutcome::Limited.count())?;
    let login = Login {
        client,
        transport: request.transport,
        replaced: replaced(&http, &state, request.transport),
        challenge,
    };
    let shared = Arc::clone(&state);
    let Done { counted, result } =
        state.tasks.finish(async move { log_in(&shared, login).await }).await?;
    if let Some(verdict) = counted {
        show(&http, verdict);
    }
    let (login, begun) = result?;
    let Begin { session_id, times, .. } = begun;
    match begun.carrier {
        Carrier::Token { token: refresh_token, .. } => {
            let grant = Grant {
                session_id,
                account_id: begun.account_id,
                wallet: login.challenge.address.as_str(),
                authenticated_at: times.created_at,
                now: times.created_at,
                session_expires_at: times.expires_at,
            };
            Pair { grant, refresh_token, refresh_expires_at: times.expires_at }.answer(&state)
        }
        Carrier::Cookie(token) => {
            let lifetime = (times.expires_at - times.created_at).to_std().unwrap_or_default();
            let answer = CookieAnswer { session_id: session_id.0, expires_at: times.expires_at };
            Ok(HttpResponse::Ok().cookie(state.cookie.set_cookie(&token, lifetime)).json(answer))
        }
    }
}

/// The session whose cookie a new one will take the place of.
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

/// The reason is for us: the client gets the same answer for all of them.
fn refuse(client: &Client, wallet: Option<&str>, outcome: LoginOutcome, reason: &str) -> Problem {
    audit::login_refused(client, wallet, reason);
    outcome.count();
    Problem::LoginRefused
}

/// Begins a session and denies those that had to end for it, and counts and tells how that went:
/// here, where it also happens for a client that has hung up.
async fn log_in(state: &State, login: Login) -> Done {
    let wallet = login.challenge.address.as_str();
    match begin(state, &login).await {
        Ok(mut begun) => {
            let ended: Vec<SessionId> = begun.ended.iter().map(|ended| ended.id).collect();
            state.denylist.deny(&ended).await;
            if let Carrier::Token { key, .. } = &begun.carrier {
                state.family_keys.keep(begun.session_id, key.clone());
            }
            LoginOutcome::Success.count();
            metrics::count_created(login.transport, begun.new_account);
            audit::login(
                &login.client,
                wallet,
                begun.account_id,
                begun.session_id,
                login.transport,
            );
            for Ended { id, reason } in &begun.ended {
                metrics::count_revoked(*reason, 1);
                audit::revoke(
                    Some(&login.client),
                    *id,
                    &RevokedBy::Account(begun.account_id),
                    *reason,
                );
            }
            Done { counted: begun.counted.take(), result: Ok((login, begun)) }
        }
        Err(Refused::TooManyAccounts(verdict, wait)) => {
            LoginOutcome::Limited.count();
            count_refused(state, (Route::Login, login.client.ip, None), Scope::NewAccounts);
            Done { counted: Some(verdict), result: Err(Problem::RateLimited { wait }) }
        }
        Err(Refused::Reason(outcome)) => {
            Done::failed(refuse(&login.client, Some(wallet), outcome, outcome.as_str()))
        }
        Err(Refused::Database(error)) => {
            LoginOutcome::Unavailable.count();
            Done::failed(error.into())
        }
        Err(Refused::Random(error)) => {
            LoginOutcome::Unavailable.count();
            Done::failed(error.into())
        }
    }
}

impl Done {
    fn failed(problem: Problem) -> Self {
        Self { counted: None, result: Err(problem) }
    }
}

/// The login transaction. The account's row lock comes first: logins of one account stand in line,
/// so that the limit is exact and the last to commit is among the sessions that stay.
async fn begin(state: &State, login: &Login) -> Result<Begin, Refused> {
    let session_id = SessionId::generate();
    let Login { challenge, client, replaced, .. } = login;
    let carrier = match login.transport {
        Transport::Token => fresh_family_key().and_then(|key| {
            let token = RefreshToken::generate(&state.secrets, Some(&key), session_id, 0)?;
            Ok(Carrier::Token { token, key })
        }),
        Transport::Cookie => {
            SessionToken::generate(&state.secrets, session_id).map(Carrier::Cookie)
        }
    };
    let carrier = carrier.map_err(Refused::Random)?;
    let issuer = state.network.caip2();
    let (lifetimes, limit) = (state.lifetimes, state.session_limit);

    let mut connection = state.database.acquire().await?;
    let watch = connection.watch();
    // Whether the transaction was about to be committed with sessions ended.
    let mut may_have_ended = false;
    let transaction = connection.transaction(async |connection| {
        let account = Account::log_in(connection, issuer, challenge.address.as_str()).await?;
        if account.disabled_at.is_some() {
            return Err(Refused::Reason(LoginOutcome::Disabled));
        }
        match challenges::consume(connection, challenge.nonce_hash, challenge.expires_at).await? {
            Consumed::Now => {}
            Consumed::Before => return Err(Refused::Reason(LoginOutcome::Replayed)),
            Consumed::Expired => return Err(Refused::Reason(LoginOutcome::BadChallenge)),
        }
        let counted = if account.is_new { count_account(state, client).await? } else { None };
        let session = NewSession {
            id: session_id,
            account_id: account.id,
            token_hash: match &carrier {
                Carrier::Token { .. } => None,
                Carrier::Cookie(token) => Some(token.hash()),
            },
            user_agent: client.user_agent.clone(),
            ip: Some(client.ip),
            ttl: lifetimes.session,
            max_age: lifetimes.session_max_age,
        };
        let times = session.insert(connection).await?;
        if let Carrier::Token { token, key } = &carrier {
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
    let done = timed(watch, "login", transaction).await;
    // The answer to the commit is missing: it may have been committed all the same, and then those
    // sessions have to be denied. Nothing before the commit ends a session, and least of all a
    // connection that could not be had: under load, doubt would send every look-up of every
    // process to the database that is too busy already.
    if may_have_ended && matches!(done, Err(Refused::Database(_))) {
        state.denylist.doubt();
    }
    let (account, times, ended, counted) = done?;
    let (account_id, new_account) = (account.id, account.is_new);
    Ok(Begin { account_id, session_id, times, carrier, ended, new_account, counted })
}

/// Counts an account that the transaction has made: nothing else tells an existing account's login,
/// which is never refused by it, without one more query. If it is one too many, the transaction is
/// rolled back, and with it the use of the challenge.
async fn count_account(state: &State, client: &Client) -> Result<Option<Verdict>, Refused> {
    let Some(verdict) = state.limits.count_new_account(client.ip).await else { return Ok(None) };
    match verdict.refused {
        Some((_, wait)) => Err(Refused::TooManyAccounts(verdict, wait)),
        None => Ok(Some(verdict)),
    }
}

impl From<DatabaseError> for Refused {
    fn from(error: DatabaseError) -> Self {
        Self::Database(error)
    }
}

impl From<diesel::result::Error> for Refused {
    fn from(error: diesel::result::Error) -> Self {
        Self::Database(error.into())
    }
}
