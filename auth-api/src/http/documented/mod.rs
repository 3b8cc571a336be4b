//! What the contract says of answers that are no success. It is made from the very [`Problem`]s that are answered, so that the two
//! cannot differ; an endpoint names the groups that it takes part in, and the contract has each answer once.

mod headers;

use std::collections::BTreeMap;
use std::time::Duration;

use actix_web::ResponseError as _;
use actix_web::http::{Method, StatusCode};
use serde_json::json;
use utoipa::openapi::example::ExampleBuilder;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::schema::{AllOfBuilder, ObjectBuilder, SchemaType, Type};
use utoipa::openapi::{ContentBuilder, OpenApi, Ref, RefOr, Response, ResponseBuilder};
use utoipa::{IntoResponses, Modify};

use super::Problem;
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
}

impl Refusal {
    const ALL: [Self; 13] = [
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
        }
    }

    /// What may be answered, each under a name for the example. Nothing: there is no body.
    fn problems(self) -> Vec<(&'static str, Problem)> {
        let malformed = || {
            vec![
                ("not_json", Problem::Malformed { field: None, detail: "The body must be a JSON object.".into() }),
                ("field", Problem::malformed("signature", "It is missing.")),
                ("two_credentials", Problem::TwoCredentials),
                ("cut_short", Problem::BodyCutShort),
            ]
        };
        let alone = |problem: Problem| vec![(self.words().0, problem)];
        match self {
            Self::Malformed => malformed(),
            Self::MalformedOrInvalidAddress => {
                let address = ("invalid_address", Problem::InvalidAddress(InvalidAddress::NotAnAccount));
                malformed().into_iter().chain([address]).collect()
            }
            Self::LoginRefused => alone(Problem::LoginRefused),
            Self::RefreshRefused => alone(Problem::RefreshRefused),
            Self::Unauthenticated => alone(Problem::Unauthenticated),
            Self::ForbiddenOrigin => alone(Problem::ForbiddenOrigin),
            Self::NotFound => alone(Problem::NotFound),
            Self::TooLarge => alone(Problem::TooLarge),
            Self::UnsupportedMediaType => alone(Problem::UnsupportedMediaType),
            Self::RateLimited => alone(Problem::RateLimited { wait: Duration::from_secs(12) }),
            Self::HeadTooLarge => Vec::new(),
            Self::Internal => alone(Problem::Internal),
            Self::Unavailable => alone(Problem::Unavailable),
        }
    }

    /// Whether an endpoint that is limited may have counted the request before.
    fn is_counted(self) -> bool {
        !matches!(self, Self::Unauthenticated | Self::ForbiddenOrigin | Self::NotFound | Self::HeadTooLarge)
    }

    fn status(self) -> StatusCode {
        let problems = self.problems();
        problems.first().map_or(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, |(_, problem)| problem.status_code())
    }

    fn reference(self) -> (String, RefOr<Response>) {
        (self.status().as_str().to_owned(), Ref::from_response_name(self.words().0).into())
    }

    fn response(self) -> Response {
        let problems = self.problems();
        let mut response = ResponseBuilder::new().description(self.words().1);
        if !problems.is_empty() {
            let mut codes: Vec<_> = problems.iter().map(|(_, problem)| problem.document().code).collect();
            codes.dedup();
            let narrowed = ObjectBuilder::new()
                .schema_type(SchemaType::AnyValue)
                .property("code", ObjectBuilder::new().schema_type(Type::String).enum_values(Some(codes)))
                .property(
                    "status",
                    ObjectBuilder::new().schema_type(Type::Integer).enum_values(Some([self.status().as_u16()])),
                );
            let schema = AllOfBuilder::new().item(Ref::from_schema_name("Problem")).item(narrowed);
            let examples = problems.iter().map(|(name, problem)| {
                let example = ExampleBuilder::new().summary(problem.to_string()).value(Some(json!(problem.document())));
                (*name, example.build())
            });
            response = response
                .content(MEDIA_TYPE, ContentBuilder::new().schema(Some(schema)).examples_from_iter(examples).build());
        }
        let mut response = response.build();
        headers::add(&mut response, &headers::OF_ALL);
        if self.is_counted() {
            headers::add(&mut response, &headers::OF_LIMITS);
        }
        for (_, problem) in &problems {
            let own = problem.header().and_then(|(name, _)| headers::known(&name));
            headers::add(&mut response, own.as_slice());
        }
        response
    }
}

/// Adds to a contract what its endpoints refer to, and the headers that every answer has.
pub struct Shared;

impl Modify for Shared {
    fn modify(&self, contract: &mut OpenApi) {
        let components = contract.components.get_or_insert_default();
        components.headers.extend(headers::all());
        let answers = Refusal::ALL.into_iter().map(|refusal| (refusal.words().0.to_owned(), refusal.response().into()));
        components.responses.extend(answers);
        for (_, operation) in contract.paths.paths.values_mut().flat_map(operations) {
            let by_cookie = operation.security.is_some();
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
