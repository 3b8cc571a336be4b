use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::{ALLOW, HeaderName, RETRY_AFTER, WWW_AUTHENTICATE};
use actix_web::{HttpResponse, ResponseError};
use serde::Serialize;
use utoipa::ToSchema;

use super::bearer_error::{CHALLENGE, too_old};
use crate::clock::NotSynchronized;
use crate::credentials::InvalidAddress;
use crate::database::DatabaseError;
use crate::tasks::CutOff;

/// An error response: a problem document (RFC 9457) with a stable `code`.
#[derive(Debug)]
pub enum Problem {
    /// 400: invalid JSON, a value of the wrong type, or an unknown or repeated field.
    Malformed {
        /// The invalid field, if the error concerns a single field.
        field: Option<String>,
        /// The description of the error.
        detail: Cow<'static, str>,
    },
    /// 400: the body was incomplete or did not arrive in time. The connection is closed, because
    /// any bytes that may still arrive are not a new request.
    BodyCutShort,
    /// 400: the value is not the address of a wallet that can log in.
    InvalidAddress(InvalidAddress),
    /// 401: the login was rejected. The body is the same for all reasons.
    LoginRefused,
    /// 401: the refresh was rejected. The body is the same for all reasons.
    RefreshRefused,
    /// 401: the credential is missing, invalid, expired, or revoked. The body is the same for all
    /// reasons.
    Unauthenticated,
    /// 401: the login is older than `STEP_UP_AGE` (RFC 9470).
    LoginTooOld {
        /// The maximum age of a login, in whole seconds.
        max_age: Duration,
    },
    /// 400: the request contains both an access token and a session cookie.
    TwoCredentials,
    /// 403: the request contains a session cookie and could change something, but its origin is
    /// missing or not allowed; or the request would set a session cookie, but its origin is not
    /// allowed.
    ForbiddenOrigin,
    /// 404: the resource does not exist.
    NotFound,
    /// 405: the resource does not support this method. Contains the methods that the resource
    /// supports.
    MethodNotAllowed(String),
    /// 413: the body exceeds the limit. The connection is closed without reading the rest of the
    /// body.
    TooLarge,
    /// 415: the body is not JSON.
    UnsupportedMediaType,
    /// 421: the operations port does not accept requests for this host.
    Misdirected,
    /// 429: a quota is used up.
    RateLimited {
        /// The time until the quota allows another request, in whole seconds.
        wait: Duration,
    },
    /// 503: a database is unavailable or too busy. The client can retry after one second.
    Unavailable,
    /// 503: the same as [`Self::Unavailable`], but the detail contains advice for the client.
    UnavailableUnless(Cow<'static, str>),
    /// 500: an internal error.
    Internal,
}

/// An error response (RFC 9457). Programs should act on `code`; `detail` is for people.
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct Document {
    /// Always `about:blank`: the type contains no information beyond the status.
    #[schema(value_type = String, pattern = "^about:blank$")]
    r#type: &'static str,
    /// The reason phrase of the status.
    #[schema(value_type = String, min_length = 1)]
    title: &'static str,
    /// The HTTP status code.
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// The error code, for programs. Codes do not change between releases.
    #[schema(value_type = String, pattern = "^[a-z_]+$")]
    pub(super) code: &'static str,
    /// The description of the error, for people.
    #[schema(value_type = String, min_length = 1)]
    detail: Cow<'static, str>,
    /// The invalid field of the body, or the invalid parameter.
    #[schema(value_type = String, required = false, max_length = 64, examples("signature"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<String>,
}

/// The media type of a [`Document`].
pub(super) const MEDIA_TYPE: &str = "application/problem+json";

impl Problem {
    /// Creates a problem for an invalid field of the body.
    pub fn malformed(field: &str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self::Malformed { field: Some(field.to_owned()), detail: detail.into() }
    }

    /// Returns the body of the response.
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

    /// Returns the header that accompanies the status, if there is one.
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

    /// Returns the status, the code, and the description for people.
    fn parts(&self) -> (StatusCode, &'static str, Cow<'static, str>) {
        match self {
            Self::Malformed { detail, .. } => (StatusCode::BAD_REQUEST, "malformed", detail.clone()),
            Self::BodyCutShort => {
                (StatusCode::BAD_REQUEST, "malformed", "The body was incomplete or did not arrive in time.".into())
            }
            Self::InvalidAddress(error) => (StatusCode::BAD_REQUEST, "invalid_address", error.to_string().into()),
            Self::LoginRefused => (
                StatusCode::UNAUTHORIZED,
                "login_refused",
                "The login was refused. Ask for a new challenge, have the wallet sign it, and try again.".into(),
            ),
            Self::RefreshRefused => {
                (StatusCode::UNAUTHORIZED, "refresh_refused", "The refresh token was rejected. Log in again.".into())
            }
            Self::Unauthenticated => (
                StatusCode::UNAUTHORIZED,
                "unauthenticated",
                "A valid credential is required: Authorization: Bearer …, or the session cookie.".into(),
            ),
            Self::LoginTooOld { .. } => (
                StatusCode::UNAUTHORIZED,
                "insufficient_user_authentication",
                "This request requires a more recent login. Log in again and repeat the request.".into(),
            ),
            Self::TwoCredentials => (
                StatusCode::BAD_REQUEST,
                "malformed",
                "The request contains both an access token and a session cookie. Send only one of them.".into(),
            ),
            Self::ForbiddenOrigin => (
                StatusCode::FORBIDDEN,
                "forbidden_origin",
                "A request that uses or sets a session cookie must come from a page of an allowed origin.".into(),
            ),
            Self::NotFound => (StatusCode::NOT_FOUND, "not_found", "The requested resource does not exist.".into()),
            Self::MethodNotAllowed(allowed) => {
                (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", format!("Allowed methods: {allowed}.").into())
            }
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "too_large", "The body is too large.".into()),
            Self::UnsupportedMediaType => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported_media_type",
                "The body must be uncompressed JSON (Content-Type: application/json).".into(),
            ),
            Self::Misdirected => (
                StatusCode::MISDIRECTED_REQUEST,
                "misdirected",
                "This port accepts requests only for IP addresses, localhost, and the names in OPS_HOSTS.".into(),
            ),
            Self::RateLimited { .. } => (
                StatusCode::TOO_MANY_REQUESTS,
                "rate_limited",
                "Too many requests. Retry after the number of seconds in the Retry-After header.".into(),
            ),
            Self::Unavailable => (
                StatusCode::SERVICE_UNAVAILABLE,
                "unavailable",
                "The service is temporarily unavailable. Try again shortly.".into(),
            ),
            Self::UnavailableUnless(detail) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail.clone()),
            Self::Internal => {
                (StatusCode::INTERNAL_SERVER_ERROR, "internal", "An internal error occurred.".into())
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

impl From<NotSynchronized> for Problem {
    fn from(error: NotSynchronized) -> Self {
        tracing::warn!(event = "clock_not_synchronised", "{error}");
        Self::Unavailable
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
