//! What the contract says of answers that are no success. It is made from the very [`Problem`]s that are answered, so that the two
//! cannot differ; an endpoint names the groups that it takes part in, and the contract has each answer once.

pub mod example;
mod headers;

use std::collections::BTreeMap;
use std::time::Duration;

use actix_web::ResponseError as _;
use actix_web::http::header::HeaderName;
use actix_web::http::{Method, StatusCode};
use serde_json::{Value, json};
use utoipa::openapi::example::ExampleBuilder;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::schema::{AllOfBuilder, ObjectBuilder, SchemaType, Type};
use utoipa::openapi::security::SecurityRequirement;
use utoipa::openapi::{Content, ContentBuilder, OpenApi, Ref, RefOr, Response, ResponseBuilder};
use utoipa::{IntoResponses, Modify};

use super::Problem;
use super::oauth::OAuthError;
use super::problem::MEDIA_TYPE;
use crate::credentials::InvalidAddress;

/// An answer that is no success, as the contract names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    Malformed,
    MalformedOrInvalidAddress,
    LoginRefused,
    RefreshRefused,
    Unauthenticated,
    ForbiddenOrigin,
    NotFound,
    TooLarge,
    UnsupportedMediaType,
    RateLimited,
    HeadTooLarge,
    Internal,
    Unavailable,
    InvalidRequest,
    InvalidClient,
    InvalidRequestTooLarge,
    TemporarilyUnavailable,
    TemporarilyUnavailableLimited,
    ServerError,
}

/// An answer, whoever it is for.
struct Answered {
    status: StatusCode,
    /// Its error, for programs.
    code: &'static str,
    /// Its header, besides those that all have.
    header: Option<HeaderName>,
    /// Its error, for people.
    says: String,
    body: Value,
}

impl From<Problem> for Answered {
    fn from(problem: Problem) -> Self {
        let (document, header) = (problem.document(), problem.header().map(|(name, _)| name));
        let (status, code) = (problem.status_code(), document.code);
        Self { status, code, header, says: problem.to_string(), body: json!(document) }
    }
}

impl From<OAuthError> for Answered {
    fn from(error: OAuthError) -> Self {
        let (document, header) = (error.document(), error.header().map(|(name, _)| name));
        let (status, code) = (error.status_code(), document.error);
        Self { status, code, header, says: error.to_string(), body: json!(document) }
    }
}

macro_rules! groups {
    ($($(#[$doc:meta])+ $group:ident: $($refusal:ident),+;)+) => {$(
        $(#[$doc])+
        pub struct $group;

        impl IntoResponses for $group {
            fn responses() -> BTreeMap<String, RefOr<Response>> {
                [$(Refusal::$refusal),+].map(Refusal::reference).into()
            }
        }
    )+};
}

groups! {
    /// Of whatever is asked.
    Anything: HeadTooLarge;
    /// Of what reads credentials and the database: all under `/auth`.
    Work: Malformed, HeadTooLarge, Internal, Unavailable;
    /// Of what a cookie may change something by.
    Change: ForbiddenOrigin;
    /// Of what takes a JSON body.
    Body: TooLarge, UnsupportedMediaType;
    /// Of what one may not do too often.
    Limited: RateLimited;
    /// Of what needs a session.
    Authenticated: Unauthenticated;
    /// Of what is looked for by its id.
    Named: NotFound;
    /// Of a body with an address; after [`Work`], for it takes the place of its 400.
    Address: MalformedOrInvalidAddress;
    /// Of a login.
    Login: LoginRefused;
    /// Of a refresh.
    Refresh: RefreshRefused;
    /// Of what other services ask.
    Services: InvalidRequest, InvalidClient, InvalidRequestTooLarge, TemporarilyUnavailableLimited, HeadTooLarge, ServerError,
        TemporarilyUnavailable;
}

impl Refusal {
    const ALL: [Self; 19] = [
        Self::Malformed,
        Self::MalformedOrInvalidAddress,
        Self::LoginRefused,
        Self::RefreshRefused,
        Self::Unauthenticated,
        Self::ForbiddenOrigin,
        Self::NotFound,
        Self::TooLarge,
        Self::UnsupportedMediaType,
        Self::RateLimited,
        Self::HeadTooLarge,
        Self::Internal,
        Self::Unavailable,
        Self::InvalidRequest,
        Self::InvalidClient,
        Self::InvalidRequestTooLarge,
        Self::TemporarilyUnavailable,
        Self::TemporarilyUnavailableLimited,
        Self::ServerError,
    ];

    /// What its component is called, and when it is answered.
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Malformed => (
                "malformed",
                "The body or the query is not what is expected here, or an access token and a cookie came together.",
            ),
            Self::MalformedOrInvalidAddress => (
                "malformed_or_invalid_address",
                "As `malformed`; or the address is not one of a wallet that can log in.",
            ),
            Self::LoginRefused => ("login_refused", "The login is refused; for which reason is not said."),
            Self::RefreshRefused => {
                ("refresh_refused", "The refresh token is not accepted; for which reason is not said.")
            }
            Self::Unauthenticated => ("unauthenticated", "No, bad, expired or revoked credential."),
            Self::ForbiddenOrigin => {
                ("forbidden_origin", "It carries a session cookie and does not come from a page of an allowed origin.")
            }
            Self::NotFound => ("not_found", "There is no such thing, or it is somebody else's."),
            Self::TooLarge => ("too_large", "The body is over `MAX_BODY_SIZE`. The connection is closed."),
            Self::UnsupportedMediaType => {
                ("unsupported_media_type", "The body is not `application/json`, or compressed.")
            }
            Self::RateLimited => {
                ("rate_limited", "Too many requests, from this network or for this wallet or session.")
            }
            Self::HeadTooLarge => {
                ("head_too_large", "The head of the request is over `MAX_HEAD_SIZE`. The connection is closed.")
            }
            Self::Internal => ("internal", "A mistake of ours. The log has it under the request's id."),
            Self::Unavailable => ("unavailable", "A store is away or too busy."),
            Self::InvalidRequest => {
                ("invalid_request", "The token is missing, a parameter stands there twice, or the body is no form.")
            }
            Self::InvalidClient => ("invalid_client", "No, unknown or wrong credentials of a client."),
            Self::InvalidRequestTooLarge => {
                ("invalid_request_too_large", "The body is over `MAX_BODY_SIZE`. The connection is closed.")
            }
            Self::TemporarilyUnavailable => ("temporarily_unavailable", "A store is away or too busy."),
            Self::TemporarilyUnavailableLimited => (
                "temporarily_unavailable_limited",
                "Too many requests from this network whose client is not known yet.",
            ),
            Self::ServerError => ("server_error", "A mistake of ours. The log has it under the request's id."),
        }
    }

    /// What may be answered, each under a name for the example. Nothing: there is no body.
    fn examples(self) -> Vec<(&'static str, Answered)> {
        let limited = Problem::RateLimited { wait: Duration::from_secs(12) };
        let malformed = || {
            vec![
                (
                    "not_json",
                    Problem::Malformed { field: None, detail: "The body must be a JSON object.".into() }.into(),
                ),
                ("field", Problem::malformed("signature", "It is missing.").into()),
                ("two_credentials", Problem::TwoCredentials.into()),
                ("cut_short", Problem::BodyCutShort.into()),
            ]
        };
        let answered: Answered = match self {
            Self::Malformed => return malformed(),
            Self::MalformedOrInvalidAddress => {
                let address = Problem::InvalidAddress(InvalidAddress::NotAnAccount);
                return malformed().into_iter().chain([("invalid_address", address.into())]).collect();
            }
            Self::HeadTooLarge => return Vec::new(),
            Self::LoginRefused => Problem::LoginRefused.into(),
            Self::RefreshRefused => Problem::RefreshRefused.into(),
            Self::Unauthenticated => Problem::Unauthenticated.into(),
            Self::ForbiddenOrigin => Problem::ForbiddenOrigin.into(),
            Self::NotFound => Problem::NotFound.into(),
            Self::TooLarge => Problem::TooLarge.into(),
            Self::UnsupportedMediaType => Problem::UnsupportedMediaType.into(),
            Self::RateLimited => limited.into(),
            Self::Internal => Problem::Internal.into(),
            Self::Unavailable => Problem::Unavailable.into(),
            Self::InvalidRequest => OAuthError::InvalidRequest("The parameter token is missing.").into(),
            Self::InvalidClient => OAuthError::InvalidClient.into(),
            Self::InvalidRequestTooLarge => OAuthError::Unread(Problem::TooLarge).into(),
            Self::TemporarilyUnavailable => OAuthError::Other(Problem::Unavailable).into(),
            Self::TemporarilyUnavailableLimited => OAuthError::Other(limited).into(),
            Self::ServerError => OAuthError::Other(Problem::Internal).into(),
        };
        vec![(self.words().0, answered)]
    }

    /// Whether it is for other services, which have errors of their own (RFC 6749 §5.2).
    fn is_for_services(self) -> bool {
        self as usize >= Self::InvalidRequest as usize
    }

    /// Whether an endpoint that is limited may have counted the request before.
    fn is_counted(self) -> bool {
        !matches!(self, Self::Unauthenticated | Self::ForbiddenOrigin | Self::NotFound | Self::HeadTooLarge)
    }

    fn reference(self) -> (String, RefOr<Response>) {
        let examples = self.examples();
        let status =
            examples.first().map_or(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, |(_, answered)| answered.status);
        (status.as_str().to_owned(), Ref::from_response_name(self.words().0).into())
    }

    fn response(self) -> Response {
        let mut response = ResponseBuilder::new().description(self.words().1).build();
        headers::add(&mut response, &headers::OF_ALL);
        if self.is_counted() {
            headers::add(&mut response, &headers::OF_LIMITS);
        }
        let examples = self.examples();
        for (_, answered) in &examples {
            headers::add(&mut response, answered.header.as_ref().and_then(headers::known).as_slice());
        }
        if !examples.is_empty() {
            let media_type = if self.is_for_services() { "application/json" } else { MEDIA_TYPE };
            response.content.insert(media_type.to_owned(), RefOr::T(self.content(examples)));
        }
        response
    }

    fn content(self, examples: Vec<(&'static str, Answered)>) -> Content {
        let (schema, member) = if self.is_for_services() { ("OAuthError", "error") } else { ("Problem", "code") };
        let mut codes: Vec<_> = examples.iter().map(|(_, answered)| answered.code).collect();
        codes.dedup();
        let code = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(codes));
        let narrowed = ObjectBuilder::new().schema_type(SchemaType::AnyValue).property(member, code);
        let schema = AllOfBuilder::new().item(Ref::from_schema_name(schema)).item(narrowed);
        let examples = examples.into_iter().map(|(name, answered)| {
            (name, ExampleBuilder::new().summary(answered.says).value(Some(answered.body)).build())
        });
        ContentBuilder::new().schema(Some(schema)).examples_from_iter(examples).build()
    }
}

/// Adds to a contract what its endpoints refer to, and the headers that every answer has.
pub struct Shared;

impl Modify for Shared {
    fn modify(&self, contract: &mut OpenApi) {
        let components = contract.components.get_or_insert_default();
        components.headers.extend(headers::all());
        let cookie = SecurityRequirement::new::<_, [&str; 0], _>("session_cookie", []);
        let answers = Refusal::ALL.into_iter().map(|refusal| (refusal.words().0.to_owned(), refusal.response().into()));
        components.responses.extend(answers);
        for (_, operation) in contract.paths.paths.values_mut().flat_map(operations) {
            let by_cookie = operation.security.iter().flatten().any(|one| *one == cookie);
            let limited = operation.responses.responses.contains_key(StatusCode::TOO_MANY_REQUESTS.as_str());
            for answer in operation.responses.responses.values_mut() {
                if let RefOr::T(answer) = answer {
                    headers::add(answer, &headers::OF_ALL);
                    if by_cookie {
                        headers::add(answer, &headers::OF_COOKIES);
                    }
                    if limited {
                        headers::add(answer, &headers::OF_LIMITS);
                    }
                }
            }
        }
    }
}

/// What may be asked of a path.
pub fn operations(path: &mut PathItem) -> impl Iterator<Item = (Method, &mut Operation)> {
    let PathItem { get, put, post, delete, head, .. } = path;
    let all =
        [(Method::GET, get), (Method::PUT, put), (Method::POST, post), (Method::DELETE, delete), (Method::HEAD, head)];
    all.into_iter().filter_map(|(method, operation)| Some((method, operation.as_mut()?)))
}
