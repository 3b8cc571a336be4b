//! The error responses in the API specification. They are generated from the
//! [`Problem`](super::Problem)s that the endpoints return, so the specification and the endpoints
//! cannot differ. Each endpoint lists the groups of errors that it can return, and the
//! specification contains each response once.

pub mod example;
mod headers;
mod refusals;

use std::collections::BTreeMap;

use actix_web::http::{Method, StatusCode};
use utoipa::openapi::example::ExampleBuilder;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::schema::{AllOfBuilder, ObjectBuilder, SchemaType, Type};
use utoipa::openapi::security::SecurityRequirement;
use utoipa::openapi::{Content, ContentBuilder, OpenApi, Ref, RefOr, Response, ResponseBuilder};
use utoipa::{IntoResponses, Modify};

use self::refusals::{
    Example, FORBIDDEN_ORIGIN, HEAD_TOO_LARGE, INTERNAL, INVALID_CLIENT, INVALID_REQUEST,
    INVALID_REQUEST_TOO_LARGE, LOGIN_REFUSED, MALFORMED, MALFORMED_OR_INVALID_ADDRESS, NOT_FOUND,
    RATE_LIMITED, REFRESH_REFUSED, Refusal, SERVER_ERROR, TEMPORARILY_UNAVAILABLE,
    TEMPORARILY_UNAVAILABLE_LIMITED, TOO_LARGE, UNAUTHENTICATED, UNAUTHENTICATED_OR_TOO_OLD,
    UNAVAILABLE, UNSUPPORTED_MEDIA_TYPE,
};

macro_rules! groups {
    ($($(#[$doc:meta])+ $group:ident: $($refusal:ident),+;)+) => {
        $(
            $(#[$doc])+
            pub struct $group;

            impl IntoResponses for $group {
                fn responses() -> BTreeMap<String, RefOr<Response>> {
                    [$($refusal),+].iter().map(Refusal::reference).collect()
                }
            }
        )+

        /// The errors of all groups.
        const ALL: &[&[Refusal]] = &[$(&[$($refusal),+]),+];
    };
}

groups! {
    /// Errors of all endpoints.
    Anything: HEAD_TOO_LARGE;
    /// Errors of endpoints that read credentials and the database: all endpoints under `/auth`.
    Work: MALFORMED, HEAD_TOO_LARGE, INTERNAL, UNAVAILABLE;
    /// Errors of endpoints that can change data on behalf of a request with a cookie.
    Change: FORBIDDEN_ORIGIN;
    /// Errors of endpoints that accept a JSON body.
    Body: TOO_LARGE, UNSUPPORTED_MEDIA_TYPE;
    /// Errors of endpoints that are rate-limited.
    Limited: RATE_LIMITED;
    /// Errors of endpoints that require a session.
    Authenticated: UNAUTHENTICATED;
    /// Errors of endpoints that require a session with a recent login.
    SteppedUp: UNAUTHENTICATED_OR_TOO_OLD;
    /// Errors of endpoints that look up a resource by its id.
    Named: NOT_FOUND;
    /// Errors of endpoints with an address in the body. List this group after [`Work`], because its
    /// 400 response replaces the 400 response of [`Work`].
    Address: MALFORMED_OR_INVALID_ADDRESS;
    /// Errors of a login.
    Login: LOGIN_REFUSED;
    /// Errors of a refresh.
    Refresh: REFRESH_REFUSED;
    /// Errors of endpoints for operators, who must authenticate.
    Operators: UNAUTHENTICATED, INTERNAL, UNAVAILABLE;
    /// Errors of endpoints with parameters that can be malformed.
    Words: MALFORMED;
    /// Errors of endpoints for other services.
    Services: INVALID_REQUEST, INVALID_CLIENT, INVALID_REQUEST_TOO_LARGE, TEMPORARILY_UNAVAILABLE_LIMITED, HEAD_TOO_LARGE,
        SERVER_ERROR, TEMPORARILY_UNAVAILABLE;
}

impl Refusal {
    fn reference(&self) -> (String, RefOr<Response>) {
        let first = (self.examples)().into_iter().next();
        let status =
            first.map_or(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, |example| example.status);
        (status.as_str().to_owned(), Ref::from_response_name(self.name).into())
    }

    fn response(&self) -> Response {
        let mut response = ResponseBuilder::new().description(self.when).build();
        headers::add(&mut response, &headers::OF_ALL);
        if self.counted {
            headers::add(&mut response, &headers::OF_LIMITS);
        }
        let examples = (self.examples)();
        for example in &examples {
            headers::add(
                &mut response,
                example.header.as_ref().and_then(headers::known).as_slice(),
            );
        }
        if let Some((media_type, ..)) = examples.first().map(|example| example.form) {
            response.content.insert(media_type.to_owned(), RefOr::T(content(examples)));
        }
        response
    }
}

/// Returns these examples with their JSON schema: the schema that all errors share, in which `code`
/// is restricted to the codes of the examples.
fn content(examples: Vec<Example>) -> Content {
    let mut content = ContentBuilder::new();
    if let Some((_, schema, member)) = examples.first().map(|example| example.form) {
        let mut codes: Vec<_> = examples.iter().map(|example| example.code).collect();
        codes.dedup();
        let code = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(codes));
        let narrowed =
            ObjectBuilder::new().schema_type(SchemaType::AnyValue).property(member, code);
        content = content
            .schema(Some(AllOfBuilder::new().item(Ref::from_schema_name(schema)).item(narrowed)));
    }
    let examples = examples.into_iter().map(|Example { name, message, body, .. }| {
        let example = ExampleBuilder::new().summary(message).value(Some(body));
        (name, example.build())
    });
    content.examples_from_iter(examples).build()
}

/// Adds the shared components to an API specification, and the headers that all responses have.
pub struct Shared;

impl Modify for Shared {
    fn modify(&self, specification: &mut OpenApi) {
        let components = specification.components.get_or_insert_default();
        components.headers.extend(headers::all());
        let refusals = ALL.iter().copied().flatten();
        components
            .responses
            .extend(refusals.map(|refusal| (refusal.name.to_owned(), refusal.response().into())));
        for (_, operation) in specification.paths.paths.values_mut().flat_map(operations) {
            add_headers(operation);
        }
    }
}

fn add_headers(operation: &mut Operation) {
    let cookie = SecurityRequirement::new::<_, [&str; 0], _>("session_cookie", []);
    let by_cookie = operation.security.iter().flatten().any(|one| *one == cookie);
    let limited =
        operation.responses.responses.contains_key(StatusCode::TOO_MANY_REQUESTS.as_str());
    for response in operation.responses.responses.values_mut() {
        let RefOr::T(response) = response else { continue };
        headers::add(response, &headers::OF_ALL);
        if by_cookie {
            headers::add(response, &headers::OF_COOKIES);
        }
        if limited {
            headers::add(response, &headers::OF_LIMITS);
        }
    }
}

/// Returns the operations of a path.
pub fn operations(path: &mut PathItem) -> impl Iterator<Item = (Method, &mut Operation)> {
    let PathItem { get, put, post, delete, head, .. } = path;
    let all = [
        (Method::GET, get),
        (Method::PUT, put),
        (Method::POST, post),
        (Method::DELETE, delete),
        (Method::HEAD, head),
    ];
    all.into_iter().filter_map(|(method, operation)| Some((method, operation.as_mut()?)))
}
