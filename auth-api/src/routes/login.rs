//! POST /auth/login: a signed challenge for a session.

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, web};
use diesel_async::AsyncConnection as _;
use schema::accounts::Account;
use schema::challenges::{self, Consumed};
use schema::families::NewTokenFamily;
use schema::ids::{AccountId, SessionId};
use schema::sessions::{Begun, NewSession, RevokedReason, Session};
use serde::Deserialize;

use super::tokens::Pair;
use crate::credentials::access_token::Grant;
use crate::credentials::{AnsweredChallenge, ChallengeRefused, RefreshToken, Signature};
use crate::http::limit::limit;
use crate::http::{Client, Json, Problem};
use crate::limits::Route;
use crate::metrics::{self, LoginOutcome};
use crate::state::{DatabaseError, State, timed};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Request {
    message: String,
    signature: String,
    #[serde(default)]
    #[expect(dead_code, reason = "there is one way to carry a session; naming it is allowed, naming another is not")]
    transport: Transport,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "lowercase")]
enum Transport {
    #[default]
    Token,
}

/// A session that has begun, with the token that refreshes it.
struct Begin {
    account_id: AccountId,
    session_id: SessionId,
    times: Begun,
    refresh_token: RefreshToken,
    /// Older sessions that had to end for it.
    ended: Vec<SessionId>,
}

/// Why there is no session.
enum Refused {
    Reason(LoginOutcome),
    Database(DatabaseError),
    Random(getrandom::Error),
}

pub(super) async fn post(
    http: HttpRequest,
    state: web::Data<State>,
    request: Result<Json<Request>, Problem>,
) -> Result<HttpResponse, Problem> {
    let client = Client::of(&http, &state.trusted_proxies);
    let wallet = request.as_ref().ok().and_then(|Json(request)| state.challenges.wallet_of(&request.message));
    limit(&http, &state, Route::Login, client.ip, wallet).await.inspect_err(|_| LoginOutcome::Limited.count())?;
    let Json(request) = request.inspect_err(|_| LoginOutcome::Malformed.count())?;
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
            return Err(refuse(outcome, &reason.to_string()));
        }
    };
    let address = challenge.address.clone();
    let shared = Arc::clone(&state);
    let begun = state.tasks.finish(async move { log_in(&shared, &challenge, client).await }).await??;
    let pair = Pair {
        grant: Grant {
            session_id: begun.session_id,
            account_id: begun.account_id,
            wallet: address.as_str(),
            now: begun.times.created_at,
            absolute_expires_at: begun.times.absolute_expires_at,
        },
        refresh_token: begun.refresh_token,
        refresh_expires_at: begun.times.expires_at,
    };
    pair.answer(&state)
}

/// The reason is for us: the client gets the same answer for all of them.
fn refuse(outcome: LoginOutcome, reason: &str) -> Problem {
    outcome.count();
    tracing::info!(outcome = outcome.as_str(), reason, "a login was refused");
    Problem::LoginRefused
}

/// Begins a session and denies those that had to end for it, and counts and tells how that went: here, where it also
/// happens for a client that has hung up.
async fn log_in(state: &State, challenge: &AnsweredChallenge, client: Client) -> Result<Begin, Problem> {
    match begin(state, challenge, client).await {
        Ok(begun) => {
            state.denylist.deny(&begun.ended).await;
            LoginOutcome::Success.count();
            metrics::count_created();
            metrics::count_revoked(RevokedReason::Limit, begun.ended.len());
            let (session_id, account_id, ended) = (begun.session_id, begun.account_id, begun.ended.len());
            tracing::info!(%session_id, %account_id, ended, "logged in");
            Ok(begun)
        }
        Err(Refused::Reason(outcome)) => Err(refuse(outcome, outcome.as_str())),
        Err(Refused::Database(error)) => {
            LoginOutcome::Unavailable.count();
            // It may have been committed all the same: then somebody has to be denied.
            state.denylist.doubt();
            Err(error.into())
        }
        Err(Refused::Random(error)) => {
            LoginOutcome::Unavailable.count();
            Err(error.into())
        }
    }
}

/// The login transaction. The account's row lock comes first: logins of one account stand in line, so that the limit is
/// exact and the last to commit is among the sessions that stay.
async fn begin(state: &State, challenge: &AnsweredChallenge, client: Client) -> Result<Begin, Refused> {
    let session_id = SessionId::generate();
    let refresh_token = RefreshToken::generate(&state.secrets, session_id, 0).map_err(Refused::Random)?;
    let token_hash = refresh_token.hash();
    let issuer = state.network.caip2();
    let (lifetimes, limit) = (state.lifetimes, state.session_limit);

    let mut connection = state.database.acquire().await?;
    let watch = connection.watch();
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
        let session = NewSession {
            id: session_id,
            account_id: account.id,
            user_agent: client.user_agent,
            ip: Some(client.ip),
            ttl: lifetimes.session,
            max_age: lifetimes.session_max_age,
        };
        let times = session.insert(connection).await?;
        let family = NewTokenFamily { session_id, generation: 0, token_hash, rotated_at: times.created_at };
        family.insert(connection).await?;
        let ended = Session::revoke_beyond_limit(connection, account.id, session_id, limit).await?;
        Ok((account.id, times, ended))
    });
    let (account_id, times, ended) = timed(watch, "login", transaction).await?;
    Ok(Begin { account_id, session_id, times, refresh_token, ended })
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
