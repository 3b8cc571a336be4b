//! The answers that are no success, each once.

use std::time::Duration;

use actix_web::ResponseError as _;
use actix_web::http::StatusCode;
use actix_web::http::header::HeaderName;
use serde_json::{Value, json};

use super::super::Problem;
use super::super::oauth::OAuthError;
use super::super::problem::MEDIA_TYPE;
use crate::credentials::InvalidAddress;

/// An answer that is no success, as the contract has it.
pub(super) struct Refusal {
    /// The component's name.
    pub(super) name: &'static str,
    /// When it is answered.
    pub(super) when: &'static str,
    /// Whether an endpoint that is limited may have counted the request before.
    pub(super) counted: bool,
    /// What may be answered, each under a name. Nothing: there is no body.
    pub(super) examples: fn() -> Vec<Example>,
}

/// What is answered, whoever it is for.
pub(super) struct Example {
    pub(super) name: &'static str,
    pub(super) status: StatusCode,
    /// The error, for programs.
    pub(super) code: &'static str,
    /// The error, for people.
    pub(super) says: String,
    /// The header that goes with it, besides those that all have.
    pub(super) header: Option<HeaderName>,
    pub(super) body: Value,
    /// Media type, schema, and the member that has the code.
    pub(super) form: (&'static str, &'static str, &'static str),
}

fn problem(name: &'static str, problem: &Problem) -> Example {
    let (document, header) = (problem.document(), problem.header().map(|(name, _)| name));
    let (status, code, says, body) =
        (problem.status_code(), document.code, problem.to_string(), json!(document));
    Example { name, status, code, says, header, body, form: (MEDIA_TYPE, "Problem", "code") }
}

/// Other services have errors of their own (RFC 6749 §5.2).
fn oauth(name: &'static str, error: &OAuthError) -> Example {
    let (document, header) = (error.document(), error.header().map(|(name, _)| name));
    let (status, code, says, body) =
        (error.status_code(), document.error, error.to_string(), json!(document));
    Example {
        name,
        status,
        code,
        says,
        header,
        body,
        form: ("application/json", "OAuthError", "error"),
    }
}

fn malformed() -> Vec<Example> {
    let no_object =
        Problem::Malformed { field: None, detail: "The body must be a JSON object.".into() };
    vec![
        problem("no_object", &no_object),
        problem("field", &Problem::malformed("signature", "It is missing.")),
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
    when: "The body or the query is not what is expected here, or an access token and a cookie came together.",
    counted: true,
    examples: malformed,
};
pub(super) const MALFORMED_OR_INVALID_ADDRESS: Refusal = Refusal {
    name: "malformed_or_invalid_address",
    when: "As `malformed`; or the address is not one of a wallet that can log in.",
    counted: true,
    examples: malformed_or_invalid_address,
};
pub(super) const LOGIN_REFUSED: Refusal = Refusal {
    name: "login_refused",
    when: "The login is refused; for which reason is not said.",
    counted: true,
    examples: || vec![problem("login_refused", &Problem::LoginRefused)],
};
pub(super) const REFRESH_REFUSED: Refusal = Refusal {
    name: "refresh_refused",
    when: "The refresh token is not accepted; for which reason is not said.",
    counted: true,
    examples: || vec![problem("refresh_refused", &Problem::RefreshRefused)],
};
pub(super) const UNAUTHENTICATED: Refusal = Refusal {
    name: "unauthenticated",
    when: "No, bad, expired or revoked credential.",
    counted: true,
    examples: || vec![problem("unauthenticated", &Problem::Unauthenticated)],
};
pub(super) const UNAUTHENTICATED_OR_TOO_OLD: Refusal = Refusal {
    name: "unauthenticated_or_insufficient_user_authentication",
    when: "As `unauthenticated`; or the login is older than `STEP_UP_AGE` (RFC 9470): log in again.",
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
    when: "It carries a session cookie, or asks for one, and does not come from a page of an allowed origin.",
    counted: true,
    examples: || vec![problem("forbidden_origin", &Problem::ForbiddenOrigin)],
};
pub(super) const NOT_FOUND: Refusal = Refusal {
    name: "not_found",
    when: "There is no such thing, or it is somebody else's.",
    counted: true,
    examples: || vec![problem("not_found", &Problem::NotFound)],
};
pub(super) const TOO_LARGE: Refusal = Refusal {
    name: "too_large",
    when: "The body is over `MAX_BODY_SIZE`. The connection is closed.",
    counted: true,
    examples: || vec![problem("too_large", &Problem::TooLarge)],
};
pub(super) const UNSUPPORTED_MEDIA_TYPE: Refusal = Refusal {
    name: "unsupported_media_type",
    when: "The body is not `application/json`, or compressed.",
    counted: true,
    examples: || vec![problem("unsupported_media_type", &Problem::UnsupportedMediaType)],
};
pub(super) const RATE_LIMITED: Refusal = Refusal {
    name: "rate_limited",
    when: "Too many requests, from this network or for this wallet or session; or too many new accounts from this network.",
    counted: true,
    examples: || vec![problem("rate_limited", &limited())],
};
pub(super) const HEAD_TOO_LARGE: Refusal = Refusal {
    name: "head_too_large",
    when: "The head of the request is over `MAX_HEAD_SIZE`. The connection is closed.",
    counted: false,
    examples: Vec::new,
};
pub(super) const INTERNAL: Refusal = Refusal {
    name: "internal",
    when: "A mistake of ours. The log has it under the request's id.",
    counted: true,
    examples: || vec![problem("internal", &Problem::Internal)],
};
pub(super) const UNAVAILABLE: Refusal = Refusal {
    name: "unavailable",
    when: "A store is away or too busy.",
    counted: true,
    examples: || vec![problem("unavailable", &Problem::Unavailable)],
};
pub(super) const INVALID_REQUEST: Refusal = Refusal {
    name: "invalid_request",
    when: "The token is missing, a parameter stands there twice, or the body is no form.",
    counted: true,
    examples: || {
        let missing = OAuthError::InvalidRequest("The parameter token is missing.");
        vec![
            oauth("missing", &missing),
            oauth("cut_short", &OAuthError::Unread(Problem::BodyCutShort)),
        ]
    },
};
pub(super) const INVALID_CLIENT: Refusal = Refusal {
    name: "invalid_client",
    when: "No, unknown or wrong credentials of a client.",
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
    when: "Too many requests from this network whose client is not known yet.",
    counted: true,
    examples: || vec![oauth("temporarily_unavailable", &OAuthError::Other(limited()))],
};
pub(super) const SERVER_ERROR: Refusal = Refusal {
    name: "server_error",
    when: INTERNAL.when,
    counted: true,
    examples: || vec![oauth("server_error", &OAuthError::Other(Problem::Internal))],
};
