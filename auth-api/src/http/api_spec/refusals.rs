//! The error responses, each defined once.

use std::time::Duration;

use actix_web::ResponseError as _;
use actix_web::http::StatusCode;
use actix_web::http::header::HeaderName;
use serde_json::{Value, json};

use super::super::Problem;
use super::super::oauth::OAuthError;
use super::super::problem::MEDIA_TYPE;
use crate::credentials::InvalidAddress;

/// An error response in the API specification.
pub(super) struct Refusal {
    /// The name of the response among the components of the specification.
    pub(super) name: &'static str,
    /// When this response is returned.
    pub(super) when: &'static str,
    /// Whether a rate-limited endpoint may count the request before it returns this response.
    pub(super) counted: bool,
    /// The possible responses, each with a name. Empty if the response has no body.
    pub(super) examples: fn() -> Vec<Example>,
}

/// An example of an error response, in the format of a problem document or in the format of RFC
/// 6749.
pub(super) struct Example {
    pub(super) name: &'static str,
    pub(super) status: StatusCode,
    /// The error code, for programs.
    pub(super) code: &'static str,
    /// The description of the error, for people.
    pub(super) message: String,
    /// The header that accompanies this response, in addition to the headers that all responses
    /// have.
    pub(super) header: Option<HeaderName>,
    pub(super) body: Value,
    /// The media type, the name of the JSON schema, and the name of the JSON member that contains
    /// the code.
    pub(super) form: (&'static str, &'static str, &'static str),
}

fn problem(name: &'static str, problem: &Problem) -> Example {
    let (document, header) = (problem.document(), problem.header().map(|(name, _)| name));
    let (status, code, message, body) =
        (problem.status_code(), document.code, problem.to_string(), json!(document));
    Example { name, status, code, message, header, body, form: (MEDIA_TYPE, "Problem", "code") }
}

/// Creates an example of an error for other services, which have a format of their own (RFC 6749
/// §5.2).
fn oauth(name: &'static str, error: &OAuthError) -> Example {
    let (document, header) = (error.document(), error.header().map(|(name, _)| name));
    let (status, code, message, body) =
        (error.status_code(), document.error, error.to_string(), json!(document));
    Example {
        name,
        status,
        code,
        message,
        header,
        body,
        form: ("application/json", "OAuthError", "error"),
    }
}

fn malformed() -> Vec<Example> {
    let not_an_object =
        Problem::Malformed { field: None, detail: "The body must be a JSON object.".into() };
    vec![
        problem("no_object", &not_an_object),
        problem("field", &Problem::malformed("signature", "This field is missing.")),
        problem("two_credentials", &Problem::TwoCredentials),
        problem("cut_short", &Problem::BodyCutShort),
    ]
}

fn malformed_or_invalid_address() -> Vec<Example> {
    let mut examples = malformed();
    examples
        .push(problem("invalid_address", &Problem::InvalidAddress(InvalidAddress::NotAnAccount)));
    examples
}

const fn limited() -> Problem {
    Problem::RateLimited { wait: Duration::from_secs(12) }
}

pub(super) const MALFORMED: Refusal = Refusal {
    name: "malformed",
    when: "The body or the query string is malformed, or the request contains both an access token and a session cookie.",
    counted: true,
    examples: malformed,
};
pub(super) const MALFORMED_OR_INVALID_ADDRESS: Refusal = Refusal {
    name: "malformed_or_invalid_address",
    when: "The request is malformed (see `malformed`), or the address does not belong to a wallet that can log in.",
    counted: true,
    examples: malformed_or_invalid_address,
};
pub(super) const LOGIN_REFUSED: Refusal = Refusal {
    name: "login_refused",
    when: "The login was rejected. The response does not disclose the reason.",
    counted: true,
    examples: || vec![problem("login_refused", &Problem::LoginRefused)],
};
pub(super) const REFRESH_REFUSED: Refusal = Refusal {
    name: "refresh_refused",
    when: "The refresh token was rejected. The response does not disclose the reason.",
    counted: true,
    examples: || vec![problem("refresh_refused", &Problem::RefreshRefused)],
};
pub(super) const UNAUTHENTICATED: Refusal = Refusal {
    name: "unauthenticated",
    when: "The credential is missing, invalid, expired, or revoked.",
    counted: true,
    examples: || vec![problem("unauthenticated", &Problem::Unauthenticated)],
};
pub(super) const UNAUTHENTICATED_OR_TOO_OLD: Refusal = Refusal {
    name: "unauthenticated_or_insufficient_user_authentication",
    when: "The credential is not valid (see `unauthenticated`), or the login is older than `STEP_UP_AGE` (RFC 9470) and the user must log in again.",
    counted: false,
    examples: || {
        let too_old = Problem::LoginTooOld { max_age: Duration::from_mins(5) };
        vec![
            problem("unauthenticated", &Problem::Unauthenticated),
            problem("login_too_old", &too_old),
        ]
    },
};
pub(super) const FORBIDDEN_ORIGIN: Refusal = Refusal {
    name: "forbidden_origin",
    when: "The request contains or requests a session cookie, but does not come from a page of an allowed origin.",
    counted: true,
    examples: || vec![problem("forbidden_origin", &Problem::ForbiddenOrigin)],
};
pub(super) const NOT_FOUND: Refusal = Refusal {
    name: "not_found",
    when: "The resource does not exist or belongs to another account.",
    counted: true,
    examples: || vec![problem("not_found", &Problem::NotFound)],
};
pub(super) const TOO_LARGE: Refusal = Refusal {
    name: "too_large",
    when: "The body exceeds `MAX_BODY_SIZE`. The connection is closed.",
    counted: true,
    examples: || vec![problem("too_large", &Problem::TooLarge)],
};
pub(super) const UNSUPPORTED_MEDIA_TYPE: Refusal = Refusal {
    name: "unsupported_media_type",
    when: "The body is not `application/json`, or it is compressed.",
    counted: true,
    examples: || vec![problem("unsupported_media_type", &Problem::UnsupportedMediaType)],
};
pub(super) const RATE_LIMITED: Refusal = Refusal {
    name: "rate_limited",
    when: "There were too many requests from this network or for this wallet or session, or too many new accounts from this network.",
    counted: true,
    examples: || vec![problem("rate_limited", &limited())],
};
pub(super) const HEAD_TOO_LARGE: Refusal = Refusal {
    name: "head_too_large",
    when: "The request line and the headers together exceed `MAX_HEAD_SIZE`. The connection is closed.",
    counted: false,
    examples: Vec::new,
};
pub(super) const INTERNAL: Refusal = Refusal {
    name: "internal",
    when: "An internal error occurred. The server's log contains the error under the request's id.",
    counted: true,
    examples: || vec![problem("internal", &Problem::Internal)],
};
pub(super) const UNAVAILABLE: Refusal = Refusal {
    name: "unavailable",
    when: "A database that the request needs is unavailable or too busy.",
    counted: true,
    examples: || vec![problem("unavailable", &Problem::Unavailable)],
};
pub(super) const INVALID_REQUEST: Refusal = Refusal {
    name: "invalid_request",
    when: "The parameter `token` is missing, a parameter is repeated, or the body is not a form.",
    counted: true,
    examples: || {
        let missing = OAuthError::InvalidRequest("The parameter `token` is missing.");
        vec![
            oauth("missing", &missing),
            oauth("cut_short", &OAuthError::Unread(Problem::BodyCutShort)),
        ]
    },
};
pub(super) const INVALID_CLIENT: Refusal = Refusal {
    name: "invalid_client",
    when: "The client's credentials are missing, unknown, or wrong.",
    counted: true,
    examples: || vec![oauth("invalid_client", &OAuthError::InvalidClient)],
};
pub(super) const INVALID_REQUEST_TOO_LARGE: Refusal = Refusal {
    name: "invalid_request_too_large",
    when: TOO_LARGE.when,
    counted: true,
    examples: || vec![oauth("too_large", &OAuthError::Unread(Problem::TooLarge))],
};
pub(super) const TEMPORARILY_UNAVAILABLE: Refusal = Refusal {
    name: "temporarily_unavailable",
    when: UNAVAILABLE.when,
    counted: true,
    examples: || vec![oauth("temporarily_unavailable", &OAuthError::Other(Problem::Unavailable))],
};
pub(super) const TEMPORARILY_UNAVAILABLE_LIMITED: Refusal = Refusal {
    name: "temporarily_unavailable_limited",
    when: "There were too many requests from this network without an authenticated client.",
    counted: true,
    examples: || vec![oauth("temporarily_unavailable", &OAuthError::Other(limited()))],
};
pub(super) const SERVER_ERROR: Refusal = Refusal {
    name: "server_error",
    when: INTERNAL.when,
    counted: true,
    examples: || vec![oauth("server_error", &OAuthError::Other(Problem::Internal))],
};
