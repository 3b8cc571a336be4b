//! GET /openapi.json: the API specification in OpenAPI 3.1, generated from the endpoints' own
//! types.

use actix_web::HttpResponse;
use actix_web::http::header::{CACHE_CONTROL, ContentType, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::web::{self, Bytes};
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{OpenApi as Document, RefOr, Required, Server, ServerBuilder};
use utoipa::{Modify, OpenApi};

use super::{
    API, DEMO, PAGES, admin, challenge, introspect, jwks, login, logout, metadata, refresh, revoke,
    session, sessions,
};
use crate::http::api_spec::{self, Shared};
use crate::http::{OAuthErrorDocument, ProblemDocument};

/// The API specification in the form in which it is served: a JSON document.
pub struct ApiSpecification(Bytes);

#[derive(OpenApi)]
#[openapi(
    info(
        title = "auth-api",
        description = "Wallet login for Stellar. A wallet signs a challenge (SEP-53) and gets a session: a short-lived access token \
                       with a rotating refresh token, or a cookie.\n\nErrors are problem details (RFC 9457) with a stable `code`; \
                       errors of the `oauth` endpoints have the format of RFC 6749. Times are in RFC 3339 format and in UTC. \
                       A JSON request body is an object in UTF-8. Unknown and repeated fields are rejected."
    ),
    paths(
        challenge::post,
        login::post,
        refresh::post,
        logout::post,
        session::get,
        sessions::list,
        sessions::delete_all,
        sessions::delete_one,
        admin::sessions::get,
        admin::revoke::post,
        admin::session::delete,
        admin::account::delete,
        introspect::post,
        revoke::post,
        metadata::get,
        jwks::get,
        get,
    ),
    components(schemas(ProblemDocument, OAuthErrorDocument)),
    tags(
        (name = "auth", description = "Log in, refresh tokens, and log out."),
        (name = "sessions", description = "List and end the caller's own sessions."),
        (name = "oauth", description = "Introspect and revoke tokens, for other services."),
        (name = "admin", description = "List and end the sessions of all accounts, for operators, on a separate port."),
        (name = "discovery", description = "Public keys, server metadata, and this specification."),
    ),
    modifiers(&License, &Credentials, &Heads, &Optional, &Operations, &Shared)
)]
struct Endpoints;

impl ApiSpecification {
    /// Generates the specification for the API at this URL.
    pub fn at(url: &str) -> Result<Self, serde_json::Error> {
        Ok(Self(serde_json::to_vec(&document(url))?.into()))
    }
}

/// Returns the specification for a server at `/`, as indented JSON with a trailing newline. The
/// repository contains the specification in this form.
pub fn to_pretty_json() -> Result<String, serde_json::Error> {
    Ok(document("/").to_pretty_json()? + "\n")
}

fn document(url: &str) -> Document {
    let mut document = Endpoints::openapi();
    document.servers = Some(vec![Server::new(url)]);
    document
}

/// The value of `Cache-Control`. The specification changes only with a release.
const CACHE: HeaderValue = HeaderValue::from_static("public, max-age=300");

/// Retrieve the API specification
///
/// Returns this document.
#[utoipa::path(
    get,
    path = "/openapi.json",
    operation_id = "contract",
    tag = "discovery",
    responses(
        (status = 200, description = "The specification in OpenAPI 3.1.", body = Object,
         headers(("Cache-Control" = String, description = "`public, max-age=300`"))),
        api_spec::Anything
    )
)]
pub(super) async fn get(specification: web::Data<ApiSpecification>) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((CACHE_CONTROL, CACHE))
        .content_type(ContentType::json())
        .body(specification.0.clone())
}

/// The statuses of responses to requests for a page.
const PAGE_STATUSES: [StatusCode; 4] = [
    StatusCode::OK,
    StatusCode::PERMANENT_REDIRECT,
    StatusCode::NOT_FOUND,
    StatusCode::INTERNAL_SERVER_ERROR,
];

/// Returns the method, route and status of every response that an endpoint may return. `demo`
/// specifies whether the demo is served.
#[must_use]
pub fn answers(demo: bool) -> Vec<(Method, String, StatusCode)> {
    let mut specification = Endpoints::openapi();
    let mut answers = Vec::new();
    for (path, item) in &mut specification.paths.paths {
        for (method, operation) in api_spec::operations(item) {
            let statuses =
                operation.responses.responses.keys().filter_map(|status| status.parse().ok());
            answers.extend(statuses.map(|status| (method.clone(), path.clone(), status)));
        }
    }
    let demo = if demo { DEMO } else { &[] };
    for page in PAGES.iter().chain(demo) {
        let answered = page.methods().flat_map(|method| {
            PAGE_STATUSES.map(|status| (method.clone(), page.template.to_owned(), status))
        });
        answers.extend(answered);
    }
    answers
}

/// Adds the SPDX expression of the license.
struct License;

impl Modify for License {
    fn modify(&self, specification: &mut Document) {
        if let Some(license) = &mut specification.info.license {
            license.identifier = Some(license.name.clone());
        }
    }
}

/// Adds the security schemes.
struct Credentials;

impl Modify for Credentials {
    fn modify(&self, specification: &mut Document) {
        let token = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .bearer_format("JWT")
            .description(Some("The access token that a login or a refresh returned."));
        let cookie = ApiKeyValue::with_description(
            "__Host-session",
            "The cookie that a login with `transport: \"cookie\"` set. A request with a method other than GET, HEAD or OPTIONS \
             also requires an `Origin` header with the server's own origin or one of `ALLOWED_ORIGINS`; browsers send this \
             header automatically. A request must not contain both a cookie and an access token.",
        );
        let operator = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(
            "The operators' token, which `ADMIN_TOKEN_FILE` contains. `auth-api admin token` generates one.",
        ));
        let client = HttpBuilder::new().scheme(HttpAuthScheme::Basic).description(Some(
            "The id and the secret of another service. `auth-api clients add ID` adds the service and prints its secret.",
        ));
        specification.components.get_or_insert_default().security_schemes.extend([
            ("operator".to_owned(), RefOr::T(SecurityScheme::Http(operator.build()))),
            ("client".to_owned(), RefOr::T(SecurityScheme::Http(client.build()))),
            ("access_token".to_owned(), RefOr::T(SecurityScheme::Http(token.build()))),
            ("session_cookie".to_owned(), RefOr::T(SecurityScheme::ApiKey(ApiKey::Cookie(cookie)))),
        ]);
    }
}

/// Adds the HEAD operations. A response to HEAD is the response to GET without its body.
struct Heads;

impl Modify for Heads {
    fn modify(&self, specification: &mut Document) {
        for path in API.iter().filter(|path| path.methods().any(|method| method == Method::HEAD)) {
            let item = specification.paths.paths.get_mut(path.template);
            if let Some(PathItem { get: Some(get), head, .. }) = item {
                *head = Some(without_bodies(get));
            }
        }
    }
}

/// Marks the request bodies that are optional.
struct Optional;

impl Modify for Optional {
    fn modify(&self, specification: &mut Document) {
        let logout =
            specification.paths.paths.get_mut("/auth/logout").and_then(|path| path.post.as_mut());
        if let Some(RefOr::T(body)) = logout.and_then(|logout| logout.request_body.as_mut()) {
            body.required = Some(Required::False);
        }
    }
}

/// Adds the server URL of the endpoints on the operators' port.
struct Operations;

impl Modify for Operations {
    fn modify(&self, specification: &mut Document) {
        for (path, item) in &mut specification.paths.paths {
            if path.starts_with(admin::SCOPE) {
                let server = ServerBuilder::new().url("http://127.0.0.1:9082");
                let server = server.description(Some(
                    "The operators' port (`ADMIN_BIND`). Do not expose it to the public.",
                ));
                item.servers = Some(vec![server.build()]);
            }
        }
    }
}

fn without_bodies(get: &Operation) -> Operation {
    let mut head = get.clone();
    head.operation_id = get.operation_id.as_ref().map(|id| format!("{id}_head"));
    head.summary = get.summary.as_ref().map(|summary| format!("{summary} (headers only)"));
    for answer in head.responses.responses.values_mut() {
        if let RefOr::T(answer) = answer {
            answer.content.clear();
        }
    }
    head
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_route_is_in_the_contract_and_nothing_else_is() {
        let mut specification = Endpoints::openapi();
        let documented: BTreeSet<_> = specification
            .paths
            .paths
            .iter_mut()
            .flat_map(|(path, item)| {
                api_spec::operations(item).map(|(method, _)| (path.clone(), method.to_string()))
            })
            .collect();
        let api = API.iter().map(|path| (path.template.to_owned(), path));
        let admin =
            admin::PATHS.iter().map(|path| (format!("{}{}", admin::SCOPE, path.template), path));
        let served = api.chain(admin).flat_map(|(template, path)| {
            path.methods().map(move |method| (template.clone(), method.to_string()))
        });
        assert_eq!(documented, served.collect());
    }
}
