//! POST /oauth/introspect: reports to other services whether a token is active (RFC 7662).

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
use crate::http::{Form, FormFields, Problem, api_spec, live_session};
use crate::limits::Route;
use crate::state::State;

/// The kind of a token. A resource server must not accept a refresh token.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
enum TokenUse {
    #[serde(rename = "access_token")]
    Access,
    #[serde(rename = "refresh_token")]
    Refresh,
    #[serde(rename = "session_token")]
    Session,
}

/// An active token (RFC 7662 §2.2). Times are in seconds since the Unix epoch.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ActiveToken)]
#[allow(clippy::struct_field_names, reason = "the fields are the standard's")]
struct Active {
    /// The token is active.
    #[schema(schema_with = yes)]
    active: bool,
    /// The kind of the token. A resource server must accept only `access_token` and
    /// `session_token`.
    token_use: TokenUse,
    /// `Bearer`. Present only for an access token.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false, pattern = "^Bearer$")]
    token_type: Option<&'static str>,
    /// The client that the token was issued to. The value is the same for all tokens.
    #[schema(examples("auth-api"))]
    client_id: String,
    /// The issuer of the token.
    #[schema(examples("https://auth.example.com"))]
    iss: String,
    /// The audience of the token. Present only for an access token.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false, examples("https://auth.example.com"))]
    aud: Option<String>,
    /// The account's id.
    #[schema(examples(json!(example::ACCOUNT_ID)))]
    sub: Uuid,
    /// The session's id.
    #[schema(examples(json!(example::SESSION_ID)))]
    sid: Uuid,
    /// When the user authenticated, which is the time of the login (RFC 9470 §6.2).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = i64, required = false, examples(1_795_251_600))]
    auth_time: Option<i64>,
    /// The wallet's address.
    #[schema(examples(json!(example::ADDRESS)))]
    wallet: String,
    /// When the token was issued.
    #[schema(examples(1_795_251_600))]
    iat: i64,
    /// When the token expires. For a refresh token or a session token, this is when the session
    /// expires unless the session is used before then.
    #[schema(examples(1_795_252_500))]
    exp: i64,
    /// The token's id. Present only for an access token.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Uuid, required = false)]
    jti: Option<Uuid>,
}

/// A token that is not active. The response does not contain the reason (RFC 7662 §2.2).
#[derive(Debug, Default, Serialize, ToSchema)]
#[schema(as = InactiveToken)]
struct Inactive {
    /// The token is not active.
    #[schema(schema_with = no)]
    active: bool,
}

/// The response to an introspection request.
#[derive(ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only the API specification uses this type")]
enum Introspection {
    Active(Active),
    Inactive(Inactive),
}

fn yes() -> Object {
    ObjectBuilder::new()
        .schema_type(Type::Boolean)
        .enum_values(Some([true]))
        .description(Some("The token is active."))
        .build()
}

fn no() -> Object {
    ObjectBuilder::new()
        .schema_type(Type::Boolean)
        .enum_values(Some([false]))
        .description(Some("The token is not active."))
        .build()
}

/// Introspect a token
///
/// Returns to another service whether a token is active, and which account and session the token
/// belongs to (RFC 7662). When a session is revoked, its tokens are inactive from the next request
/// on.
///
/// Only the newest refresh token of a session is active, and introspection does not use the token
/// up. Introspection of a session token counts as a use of its session.
#[utoipa::path(
    post,
    path = "/oauth/introspect",
    operation_id = "introspect",
    tag = "oauth",
    request_body(content = FormFields, content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 200, description = "Whether the token is active and, if so, what it contains.",
         content((inline(Introspection) = "application/json", examples(
            ("active" = (summary = "An access token", value = json!({
                "active": true, "token_use": "access_token", "token_type": "Bearer", "client_id": "auth-api",
                "iss": "https://auth.example.com", "aud": "https://auth.example.com",
                "sub": example::ACCOUNT_ID, "sid": example::SESSION_ID,
                "auth_time": 1_795_251_600, "wallet": example::ADDRESS, "iat": 1_795_251_600,
                "exp": 1_795_252_500, "jti": "0197f0a2-2222-7d10-9c55-0d0c6d8d3a7e"
            }))),
            ("inactive" = (summary = "A token that is not active", value = json!({ "active": false })))
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
            let denied = live_session::is_denied(state, schema::ids::SessionId(claims.sid)).await?;
            Ok((!denied).then(|| Active::access(claims)))
        }
        Some(Token::Refresh(token)) => refresh(state, &token).await,
        Some(Token::Session(token)) => {
            session(state, &PresentedCookie { token, arrived, request }).await
        }
        None => Ok(None),
    }
}

/// Introspects a refresh token. The current token is active. While the last rotation is recent, the
/// previous token is also reported as active, with the times from before the rotation. Otherwise, a
/// service with a copy of the previous token could detect when a retry would return the current
/// token.
async fn refresh(
    state: &web::Data<State>,
    token: &RefreshToken,
) -> Result<Option<Active>, Problem> {
    let session = live_session::find_live(state, token.session_id()).await?;
    Ok(session.and_then(|session| {
        let hidden = state.lifetimes.rotation_hidden();
        let (family, times) = (session.family?, session.shown_times(hidden));
        let behind = family.generation - i64::from(token.generation());
        let previous = family.previous_hash.filter(|_| session.rotated_within(hidden));
        let issued_at = match behind {
            0 if same_hash(family.token_hash, token.hash()) => family.rotated_at,
            1 if previous.is_some_and(|hash| same_hash(hash, token.hash())) => times.last_seen_at,
            _ => return None,
        };
        Some(Active::of(state, &session, TokenUse::Refresh, issued_at, times.expires_at))
    }))
}

/// Introspects a session token. A service introspects the cookie of each request that it receives,
/// and each of these requests uses the session. Therefore, an introspection is recorded as a use,
/// like a request to this API. The expiration of the session is not extended, because the service's
/// responses could not set the new cookie.
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
        issued_at: DateTime<Utc>,
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
            iat: issued_at.timestamp(),
            exp: expires_at.timestamp(),
            jti: None,
        }
    }
}
