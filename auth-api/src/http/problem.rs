use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::{ALLOW, HeaderName, RETRY_AFTER, WWW_AUTHENTICATE};
use actix_web::{HttpResponse, ResponseError};
use serde::Serialize;
use utoipa::ToSchema;

use super::bearer_error::{CHALLENGE, too_old};
use crate::credentials::InvalidAddress;
use crate::state::{CutOff, DatabaseError};

/// Everything but success: a problem document (RFC 9457) with a stable `code`.
#[derive(Debug)]
pub enum Problem {
    /// 400: JSON, its types, unknown or repeated fields.
    Malformed {
        /// The field that is wrong, where it is one.
        field: Option<String>,
        /// What is wrong with it.
        detail: Cow<'static, str>,
    },
    /// 400: the body did not come to its end, or not in time. The connection is closed: what may
    /// still come is no request.
    BodyCutShort,
    /// 400: not the address of a wallet that can log in.
    InvalidAddress(InvalidAddress),
    /// 401: every refused login, one body for all reasons.
    LoginRefused,
    /// 401: every refused refresh, one body for all reasons.
    RefreshRefused,
    /// 401: no, bad, expired or revoked credential, one body for all.
    Unauthenticated,
    /// 401: the login is older than `STEP_UP_AGE` (RFC 9470).
    LoginTooOld {
        /// How old a login may be, in whole seconds.
        max_age: Duration,
    },
    /// 400: an access token and a cookie at once: which of the two is meant?
    TwoCredentials,
    /// 403: it carries a cookie, would change something, and comes from a page that is not ours, or
    /// does not say from where.
    ForbiddenOrigin,
    /// 404: no such thing here.
    NotFound,
    /// 405: something, but not for this method. Which methods it is for.
    MethodNotAllowed(String),
    /// 413: a body over the limit. The connection is closed: the rest of it is not waited for.
    TooLarge,
    /// 415: a body that is not JSON.
    UnsupportedMediaType,
    /// 421: the operations port does not answer to this host.
    Misdirected,
    /// 429: a quota is used up.
    RateLimited {
        /// Until there is some of it again, in whole seconds.
        wait: Duration,
    },
    /// 503: a store is away or too busy; a second later it may not be.
    Unavailable,
    /// 503: the same, and what would help.
    UnavailableUnless(Cow<'static, str>),
    /// 500: our mistake.
    Internal,
}

/// A problem as it is answered (RFC 9457). What to do about it goes by `code`; `detail` is for
/// people.
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct Document {
    /// Says no more than the status does.
    #[schema(value_type = String, pattern = "^about:blank$")]
    r#type: &'static str,
    /// The status in words.
    #[schema(value_type = String, min_length = 1)]
    title: &'static str,
    /// The status of the answer.
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// What it is, for programs. It does not change between releases.
    #[schema(value_type = String, pattern = "^[a-z_]+$")]
    pub(super) code: &'static str,
    /// What it is, for people.
    #[schema(value_type = String, min_length = 1)]
    detail: Cow<'static, str>,
    /// The field of the body, or the parameter, that is wrong.
    #[schema(value_type = String, required = false, max_length = 64, examples("signature"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<String>,
}

/// The media type of a [`Document`].
pub(super) const MEDIA_TYPE: &str = "application/problem+json";

impl Problem {
    /// A field of the body that is wrong.
    pub fn malformed(field: &str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self::Malformed { field: Some(field.to_owned()), detail: detail.into() }
    }

    /// The body of the answer.
    #[must_use]
    pub fn document(&self) -> Document {
        let (status, code, detail) = self.parts();
        let field = match self {
            Self::Malformed { field, .. } => field.clone(),
            Self::InvalidAddress(_) => Some("address".to_owned()),
            _ => None,
        };
        let title = status.canonical_reason().unwrap_or_default();
        Document { r#type: "about:blank", title, status: status.as_u16(), code, detail, field }
    }

    /// The header that goes with the status.
    pub(super) fn header(&self) -> Option<(HeaderName, Cow<'static, str>)> {
        match self {
            Self::Unauthenticated => Some((WWW_AUTHENTICATE, CHALLENGE.into())),
            Self::LoginTooOld { max_age } => Some((WWW_AUTHENTICATE, too_old(*max_age).into())),
            Self::MethodNotAllowed(allowed) => Some((ALLOW, allowed.clone().into())),
            Self::RateLimited { wait } => Some((RETRY_AFTER, wait.as_secs().to_string().into())),
            Self::Unavailable | Self::UnavailableUnless(_) => Some((RETRY_AFTER, "1".into())),
            _ => None,
        }
    }

    /// Status, code and what it says to people.
    fn parts(&self) -> (StatusCode, &'static str, Cow<'static, str>) {
        match self {
            Self::Malformed { detail, .. } => (StatusCode::BAD_REQUEST, "malformed", detail.clone()),
            Self::BodyCutShort => {
                (StatusCode::BAD_REQUEST, "malformed", "The body ended early, or did not arrive in time.".into())
            }
            Self::InvalidAddress(error) => (StatusCode::BAD_REQUEST, "invalid_address", error.to_string().into()),
            Self::LoginRefused => (
                StatusCode::UNAUTHORIZED,
                "login_refused",
                "The login was refused. Ask for a new challenge, have the wallet sign it, and try again.".into(),
            ),
            Self::RefreshRefused => {
                (StatusCode::UNAUTHORIZED, "refresh_refused", "The refresh token is not accepted. Log in again.".into())
            }
            Self::Unauthenticated => (
                StatusCode::UNAUTHORIZED,
                "unauthenticated",
                "A valid credential is needed: Authorization: Bearer …, or the session cookie.".into(),
            ),
            Self::LoginTooOld { .. } => (
                StatusCode::UNAUTHORIZED,
                "insufficient_user_authentication",
                "This takes a more recent login. Log in again and repeat the request.".into(),
            ),
            Self::TwoCredentials => (
                StatusCode::BAD_REQUEST,
                "malformed",
                "An access token and a session cookie came together: send one of them.".into(),
            ),
            Self::ForbiddenOrigin => (
                StatusCode::FORBIDDEN,
                "forbidden_origin",
                "With a session cookie, this is only for pages of an allowed origin.".into(),
            ),
            Self::NotFound => (StatusCode::NOT_FOUND, "not_found", "There is nothing here.".into()),
            Self::MethodNotAllowed(allowed) => {
                (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", format!("This takes {allowed}.").into())
            }
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "too_large", "The body is too large.".into()),
            Self::UnsupportedMediaType => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported_media_type",
                "The body must be JSON: Content-Type: application/json, not compressed.".into(),
            ),
            Self::Misdirected => (
                StatusCode::MISDIRECTED_REQUEST,
                "misdirected",
                "This port answers to IP addresses, to localhost and to the names in OPS_HOSTS.".into(),
            ),
            Self::RateLimited { .. } => (
                StatusCode::TOO_MANY_REQUESTS,
                "rate_limited",
                "Too many requests. Retry-After says when to try again.".into(),
            ),
            Self::Unavailable => (
                StatusCode::SERVICE_UNAVAILABLE,
                "unavailable",
                "The service is not able to answer now. Try again shortly.".into(),
            ),
            Self::UnavailableUnless(detail) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail.clone()),
            Self::Internal => {
                (StatusCode::INTERNAL_SERVER_ERROR, "internal", "Something went wrong on our side.".into())
            }
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.parts().2)
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.parts().0
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status_code());
        if matches!(self, Self::BodyCutShort | Self::TooLarge) {
            response.force_close();
        }
        if let Some((name, value)) = self.header() {
            response.insert_header((name, value.as_ref()));
        }
        response.content_type(MEDIA_TYPE).json(self.document())
    }
}

impl From<DatabaseError> for Problem {
    fn from(error: DatabaseError) -> Self {
        if error.is_transient() {
            tracing::warn!(event = "database_unavailable", %error, "database unavailable");
            Self::Unavailable
        } else {
            tracing::error!(event = "query_failed", %error, "query failed");
            Self::Internal
        }
    }
}

impl From<diesel::result::Error> for Problem {
    fn from(error: diesel::result::Error) -> Self {
        DatabaseError::from(error).into()
    }
}

impl From<CutOff> for Problem {
    fn from(error: CutOff) -> Self {
        tracing::error!(event = "task_cancelled", %error, "task cancelled");
        Self::Internal
    }
}

impl From<getrandom::Error> for Problem {
    fn from(error: getrandom::Error) -> Self {
        tracing::error!(event = "randomness_unavailable", %error, "operating system returned no random bytes");
        Self::Unavailable
    }
}

impl From<jsonwebtoken::errors::Error> for Problem {
    fn from(error: jsonwebtoken::errors::Error) -> Self {
        tracing::error!(event = "access_token_not_signed", %error, "access token not signed");
        Self::Internal
    }
}
