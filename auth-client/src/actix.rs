//! Extractors for handlers, and their responses to rejected requests.

use std::pin::Pin;

use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::http::header::{AUTHORIZATION, RETRY_AFTER, WWW_AUTHENTICATE};
use actix_web::{FromRequest, HttpRequest, HttpResponse, ResponseError, web};
use serde_json::json;

use crate::{AccessToken, AuthClient, Error};

/// A valid access token whose session was not revoked ([`AuthClient::require_session`]). A handler
/// with this argument runs only for requests with such a token.
///
/// Like [`AccessToken`], this extractor requires `app_data(web::Data::new(client))`. Rejected
/// requests receive these responses:
///
/// - 401 with `WWW-Authenticate: Bearer` if there is no token;
/// - 401 with `error="invalid_token"` in `WWW-Authenticate` if the token is not accepted (RFC 6750
///   §3.1);
/// - 400 with `error="invalid_request"` if there are several Authorization headers;
/// - 503 with `Retry-After` if it cannot be determined at the moment whether the token is valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session(pub AccessToken);

type Extracting<T> = Pin<Box<dyn Future<Output = Result<T, Error>>>>;

/// A handler with this argument is called only for requests with a valid access token
/// ([`AuthClient::verify`]).
impl FromRequest for AccessToken {
    type Error = Error;
    type Future = Extracting<Self>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let presented = presented(request);
        Box::pin(async move {
            let (client, token) = presented.inspect_err(note)?;
            client.verify(&token).await.inspect_err(note)
        })
    }
}

impl FromRequest for Session {
    type Error = Error;
    type Future = Extracting<Self>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let presented = presented(request);
        Box::pin(async move {
            let (client, token) = presented.inspect_err(note)?;
            client.require_session(&token).await.map(Self).inspect_err(note)
        })
    }
}

/// Returns the client and the token that the request contains. There must be exactly one
/// Authorization header, with the scheme Bearer. Tokens in bodies and URLs (RFC 6750 §2.2 and §2.3)
/// are ignored, because bodies and URLs may be logged.
fn presented(request: &HttpRequest) -> Result<(AuthClient, String), Error> {
    let client = request.app_data::<web::Data<AuthClient>>().ok_or_else(|| {
        Error::setting(
            "app_data",
            "the extractors require `app_data(web::Data::new(client))` with an AuthClient",
        )
    })?;
    let mut headers = request.headers().get_all(AUTHORIZATION);
    let header = headers.next().ok_or(Error::NoToken)?;
    if headers.next().is_some() {
        return Err(Error::SeveralHeaders);
    }
    let header = header.to_str().map_err(|_| Error::NotAnAccessToken)?;
    match header.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => {
            Ok((client.get_ref().clone(), token.trim_matches(' ').to_owned()))
        }
        _ => Err(Error::NoToken),
    }
}

fn note(error: &Error) {
    if error.is_refusal() {
        tracing::info!(event = "access_token_rejected", reason = %error, "access token rejected");
    } else {
        tracing::warn!(event = "verification_unavailable", %error, "access token not verified");
    }
}

impl ResponseError for Error {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::SeveralHeaders => StatusCode::BAD_REQUEST,
            Self::Setting { .. } => StatusCode::INTERNAL_SERVER_ERROR,
            error if error.is_refusal() => StatusCode::UNAUTHORIZED,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// Returns a problem document (RFC 9457). The document does not contain the reason for the
    /// rejection, because the reason would help an attacker who tries tokens.
    fn error_response(&self) -> HttpResponse {
        let status = self.status_code();
        let (code, challenge) = match self {
            Self::NoToken => ("unauthenticated", Some("Bearer")),
            Self::SeveralHeaders => ("malformed", Some(r#"Bearer error="invalid_request""#)),
            error if error.is_refusal() => {
                ("unauthenticated", Some(r#"Bearer error="invalid_token""#))
            }
            _ if status == StatusCode::SERVICE_UNAVAILABLE => ("unavailable", None),
            _ => ("internal", None),
        };
        let mut response = HttpResponse::build(status);
        if let Some(challenge) = challenge {
            response.insert_header((WWW_AUTHENTICATE, challenge));
        }
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.insert_header((RETRY_AFTER, "1"));
        }
        let title = status.canonical_reason().unwrap_or_default();
        let body = json!({ "type": "about:blank", "title": title, "status": status.as_u16(), "code": code });
        response.content_type("application/problem+json").body(body.to_string())
    }
}
