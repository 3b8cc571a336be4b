//! POST /oauth/introspect: what a token is worth, for other services (RFC 7662).

use actix_web::{HttpRequest, HttpResponse, web};
use chrono::{DateTime, Utc};
use schema::ids::TokenHash;
use schema::sessions::Session;
use secrecy::ExposeSecret as _;
use serde::Serialize;
use subtle::ConstantTimeEq as _;
use uuid::Uuid;

use crate::credentials::access_token::Claims;
use crate::credentials::{RefreshToken, SessionToken, Token};
use crate::http::oauth::{self, OAuthError};
use crate::http::{Form, Problem, caller};
use crate::limits::Route;
use crate::state::State;

/// Of what kind a token is. A refresh token is none that a resource server may take.
#[derive(Clone, Copy, Debug, Serialize)]
enum TokenUse {
    #[serde(rename = "access_token")]
    Access,
    #[serde(rename = "refresh_token")]
    Refresh,
    #[serde(rename = "session_token")]
    Session,
}

/// A token that is good now (RFC 7662 §2.2). Times are in seconds since 1970.
#[derive(Debug, Serialize)]
#[allow(clippy::struct_field_names, reason = "the fields are the standard's")]
struct Active {
    active: bool,
    token_use: TokenUse,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_type: Option<&'static str>,
    client_id: String,
    iss: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    aud: Option<String>,
    sub: Uuid,
    sid: Uuid,
    wallet: String,
    iat: i64,
    exp: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    jti: Option<Uuid>,
}

/// One that is not, for whatever reason: that is all there is to say.
#[derive(Debug, Default, Serialize)]
struct Inactive {
    active: bool,
}

pub(super) async fn post(
    http: HttpRequest,
    state: web::Data<State>,
    form: Result<Form, OAuthError>,
) -> Result<HttpResponse, OAuthError> {
    oauth::authenticate(&http, &state, Route::Introspect).await?;
    let active = introspect(&state, form?.token.expose_secret()).await?;
    oauth::count_introspection(active.is_some());
    Ok(active.map_or_else(|| HttpResponse::Ok().json(Inactive::default()), |active| HttpResponse::Ok().json(active)))
}

async fn introspect(state: &web::Data<State>, text: &str) -> Result<Option<Active>, Problem> {
    match Token::recognise(text, &state.secrets, &state.access_tokens, state.now()?) {
        Some(Token::Access(claims)) => {
            let denied = caller::is_denied(state, schema::ids::SessionId(claims.sid)).await?;
            Ok((!denied).then(|| Active::access(claims)))
        }
        Some(Token::Refresh(token)) => refresh(state, &token).await,
        Some(Token::Session(token)) => session(state, &token).await,
        None => Ok(None),
    }
}

/// Active is the current token alone: what its predecessor is still good for, within the grace, is no use.
async fn refresh(state: &web::Data<State>, token: &RefreshToken) -> Result<Option<Active>, Problem> {
    let found = caller::find_live(state, token.session_id()).await?;
    Ok(found.and_then(|session| {
        let family = session.family?;
        let current = family.generation == i64::from(token.generation()) && same(family.token_hash, token.hash());
        current.then(|| Active::of(state, &session, TokenUse::Refresh, family.rotated_at))
    }))
}

/// A service that asks for each request of a browser is where the session is used: that is noted as it would be here.
async fn session(state: &web::Data<State>, token: &SessionToken) -> Result<Option<Active>, Problem> {
    let found = caller::find_live(state, token.session_id()).await?;
    let found = found.filter(|session| session.token_hash.is_some_and(|hash| same(hash, token.hash())));
    Ok(found.map(|session| {
        state.touches.note(&session);
        Active::of(state, &session, TokenUse::Session, session.created_at)
    }))
}

fn same(one: TokenHash, other: TokenHash) -> bool {
    one.0.ct_eq(&other.0).into()
}

impl Active {
    fn access(claims: Claims) -> Self {
        Self {
            active: true,
            token_use: TokenUse::Access,
            token_type: Some("Bearer"),
            client_id: claims.client_id,
            iss: claims.iss,
            aud: Some(claims.aud),
            sub: claims.sub,
            sid: claims.sid,
            wallet: claims.wallet,
            iat: claims.iat,
            exp: claims.exp,
            jti: Some(claims.jti),
        }
    }

    fn of(state: &State, session: &Session, token_use: TokenUse, made_at: DateTime<Utc>) -> Self {
        Self {
            active: true,
            token_use,
            token_type: None,
            client_id: state.access_tokens.client_id().to_owned(),
            iss: state.access_tokens.issuer().to_owned(),
            aud: None,
            sub: session.account.id.0,
            sid: session.id.0,
            wallet: session.account.subject.clone(),
            iat: made_at.timestamp(),
            exp: session.expires_at.timestamp(),
            jti: None,
        }
    }
}
