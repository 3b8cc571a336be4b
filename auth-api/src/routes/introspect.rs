//! POST /oauth/introspect: what a token is worth, for other services (RFC 7662).

use std::time::Instant;

use actix_web::{HttpRequest, HttpResponse, web};
use chrono::{DateTime, Utc};
use schema::sessions::Session;
use secrecy::ExposeSecret as _;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa::openapi::Object;
use utoipa::openapi::schema::{ObjectBuilder, Type};
use uuid::Uuid;

use crate::credentials::access_token::Claims;
use crate::credentials::{RefreshToken, Token, same_hash};
use crate::http::api_spec::example;
use crate::http::cookie_session::{Accepted, PresentedCookie};
use crate::http::oauth::{self, OAuthError};
use crate::http::{Form, FormFields, Problem, api_spec, caller};
use crate::limits::Route;
use crate::state::State;

/// Of what kind a token is. A refresh token is none that a resource server may take.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
enum TokenUse {
    #[serde(rename = "access_token")]
    Access,
    #[serde(rename = "refresh_token")]
    Refresh,
    #[serde(rename = "session_token")]
    Session,
}

/// A token that is good now (RFC 7662 §2.2). Times are in seconds since 1970.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ActiveToken)]
#[allow(clippy::struct_field_names, reason = "the fields are the standard's")]
struct Active {
    /// It may be taken.
    #[schema(schema_with = yes)]
    active: bool,
    /// Only an access token or a session token is one that a resource server may take.
    token_use: TokenUse,
    /// Of an access token: `Bearer`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false, pattern = "^Bearer$")]
    token_type: Option<&'static str>,
    /// By whom it was asked for.
    #[schema(examples("auth-api"))]
    client_id: String,
    /// Who issued it.
    #[schema(examples("https://auth.example.com"))]
    iss: String,
    /// Of an access token: whom it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false, examples("https://auth.example.com"))]
    aud: Option<String>,
    /// The account's id.
    #[schema(examples(json!(example::ACCOUNT_ID)))]
    sub: Uuid,
    /// The session's id.
    #[schema(examples(json!(example::SESSION_ID)))]
    sid: Uuid,
    /// When its owner authenticated (RFC 9470 §6.2): the login.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = i64, required = false, examples(1_795_251_600))]
    auth_time: Option<i64>,
    /// The wallet's address.
    #[schema(examples(json!(example::ADDRESS)))]
    wallet: String,
    /// When it was issued.
    #[schema(examples(1_795_251_600))]
    iat: i64,
    /// When it ends.
    #[schema(examples(1_795_252_500))]
    exp: i64,
    /// Of an access token: its id.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Uuid, required = false)]
    jti: Option<Uuid>,
}

/// One that is not, for whatever reason: that is all there is to say.
#[derive(Debug, Default, Serialize, ToSchema)]
#[schema(as = InactiveToken)]
struct Inactive {
    /// It may not be taken.
    #[schema(schema_with = no)]
    active: bool,
}

/// What a token is worth.
#[derive(ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only the contract has them as one")]
enum Introspection {
    Active(Active),
    Inactive(Inactive),
}

fn yes() -> Object {
    ObjectBuilder::new()
        .schema_type(Type::Boolean)
        .enum_values(Some([true]))
        .description(Some("It may be taken."))
        .build()
}

fn no() -> Object {
    ObjectBuilder::new()
        .schema_type(Type::Boolean)
        .enum_values(Some([false]))
        .description(Some("It may not be taken."))
        .build()
}

/// What a token is worth
///
/// For other services (RFC 7662). A session that was revoked is inactive at the next request.
/// Asking about a session token is a use of its session.
#[utoipa::path(
    post,
    path = "/oauth/introspect",
    operation_id = "introspect",
    tag = "oauth",
    request_body(content = FormFields, content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 200, description = "Whether it is good, and for whom.",
         content((inline(Introspection) = "application/json", examples(
            ("active" = (summary = "an access token", value = json!({
                "active": true, "token_use": "access_token", "token_type": "Bearer", "client_id": "auth-api",
                "iss": "https://auth.example.com", "aud": "https://auth.example.com",
                "sub": example::ACCOUNT_ID, "sid": example::SESSION_ID,
                "auth_time": 1_795_251_600, "wallet": example::ADDRESS, "iat": 1_795_251_600,
                "exp": 1_795_252_500, "jti": "0197f0a2-2222-7d10-9c55-0d0c6d8d3a7e"
            }))),
            ("inactive" = (summary = "anything that is not good", value = json!({ "active": false })))
         )))),
        api_spec::Services
    ),
    security(("client" = []))
)]
pub(super) async fn post(
    http: HttpRequest,
    state: web::Data<State>,
    form: Result<Form, OAuthError>,
) -> Result<HttpResponse, OAuthError> {
    let arrived = Instant::now();
    oauth::authenticate(&http, &state, Route::Introspect).await?;
    let active = introspect(&state, form?.token.expose_secret(), arrived, &http).await?;
    oauth::count_introspection(active.is_some());
    Ok(active.map_or_else(
        || HttpResponse::Ok().json(Inactive::default()),
        |active| HttpResponse::Ok().json(active),
    ))
}

async fn introspect(
    state: &web::Data<State>,
    text: &str,
    arrived: Instant,
    request: &HttpRequest,
) -> Result<Option<Active>, Problem> {
    match Token::recognise(text, &state.secrets, &state.access_tokens, state.now()?) {
        Some(Token::Access(claims)) => {
            let denied = caller::is_denied(state, schema::ids::SessionId(claims.sid)).await?;
            Ok((!denied).then(|| Active::access(claims)))
        }
        Some(Token::Refresh(token)) => refresh(state, &token).await,
        Some(Token::Session(token)) => {
            session(state, &PresentedCookie { token, arrived, request }).await
        }
        None => Ok(None),
    }
}

/// Active is the current token alone. Its predecessor is shown as before the rotation while that is
/// young: otherwise a service with a copy of it could see when to ask for the successor.
async fn refresh(
    state: &web::Data<State>,
    token: &RefreshToken,
) -> Result<Option<Active>, Problem> {
    let found = caller::find_live(state, token.session_id()).await?;
    Ok(found.and_then(|session| {
        let hidden = state.lifetimes.rotation_hidden();
        let (family, times) = (session.family?, session.shown_times(hidden));
        let behind = family.generation - i64::from(token.generation());
        let previous = family.previous_hash.filter(|_| session.rotated_within(hidden));
        let made_at = match behind {
            0 if same_hash(family.token_hash, token.hash()) => family.rotated_at,
            1 if previous.is_some_and(|hash| same_hash(hash, token.hash())) => times.last_seen_at,
            _ => return None,
        };
        Some(Active::of(state, &session, TokenUse::Refresh, made_at, times.expires_at))
    }))
}

/// A service that asks for each request of a browser is where the session is used: that is noted as
/// it would be here. It does not slide, because a service's answers carry no new cookie.
async fn session(
    state: &web::Data<State>,
    presented: &PresentedCookie<'_>,
) -> Result<Option<Active>, Problem> {
    match presented.accept(state).await {
        Ok(Accepted { session, .. }) => Ok(Some(Active::of(
            state,
            &session,
            TokenUse::Session,
            session.created_at,
            session.expires_at,
        ))),
        Err(Problem::Unauthenticated) => Ok(None),
        Err(problem) => Err(problem),
    }
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
            auth_time: claims.auth_time,
            wallet: claims.wallet,
            iat: claims.iat,
            exp: claims.exp,
            jti: Some(claims.jti),
        }
    }

    fn of(
        state: &State,
        session: &Session,
        token_use: TokenUse,
        made_at: DateTime<Utc>,
        expires_at: DateTime<Utc>,
    ) -> Self {
        Self {
            active: true,
            token_use,
            token_type: None,
            client_id: state.access_tokens.client_id().to_owned(),
            iss: state.access_tokens.issuer().to_owned(),
            aud: None,
            sub: session.account.id.0,
            sid: session.id.0,
            auth_time: Some(session.authenticated_at().timestamp()),
            wallet: session.account.subject.clone(),
            iat: made_at.timestamp(),
            exp: expires_at.timestamp(),
            jti: None,
        }
    }
}
