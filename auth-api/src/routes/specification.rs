//! GET /openapi.json: what may be asked and what is answered, as OpenAPI 3.1, made from the
//! endpoints' own types.

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

/// The contract, as it is served.
pub struct ApiSpecification(Bytes);

#[derive(OpenApi)]
#[openapi(
    info(
        title = "auth-api",
        description = "Wallet login for Stellar. A wallet signs a challenge (SEP-53) and gets a session: a short access token with a \
                       refresh token that rotates, or a cookie.\n\nErrors are problem documents (RFC 9457) with a stable `code`. \
                       Times are RFC 3339 in UTC. Bodies are JSON objects in UTF-8, without unknown or repeated fields."
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
        (name = "auth", description = "Logging in and out."),
        (name = "sessions", description = "One's own sessions."),
        (name = "oauth", description = "What tokens are worth, for other services."),
        (name = "admin", description = "Everybody's sessions, for operators, on a port of their own."),
        (name = "discovery", description = "What there is to know before asking."),
    ),
    modifiers(&License, &Credentials, &Heads, &Optional, &Operations, &Shared)
)]
struct Endpoints;

impl ApiSpecification {
    /// The contract of what is served at this address.
    pub fn at(url: &str) -> Result<Self, serde_json::Error> {
        Ok(Self(serde_json::to_vec(&document(url))?.into()))
    }
}

/// The contract as it is kept: of a server at `/`, for people to read, with a newline at its end.
pub fn to_keep() -> Result<String, serde_json::Error> {
    Ok(document("/").to_pretty_json()? + "\n")
}

fn document(url: &str) -> Document {
    let mut document = Endpoints::openapi();
    document.servers = Some(vec![Server::new(url)]);
    document
}

/// It changes with a release.
const CACHE: HeaderValue = HeaderValue::from_static("public, max-age=300");

/// The contract
///
/// This document.
#[utoipa::path(
    get,
    path = "/openapi.json",
    operation_id = "contract",
    tag = "discovery",
    responses(
        (status = 200, description = "OpenAPI 3.1.", body = Object,
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

/// What a page is answered with.
const PAGE_STATUSES: [StatusCode; 4] = [
    StatusCode::OK,
    StatusCode::PERMANENT_REDIRECT,
    StatusCode::NOT_FOUND,
    StatusCode::INTERNAL_SERVER_ERROR,
];

/// Every answer that an endpoint may give: method, route and status. `demo`: whether its page is
/// there.
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

/// The licence by its SPDX expression.
struct License;

impl Modify for License {
    fn modify(&self, specification: &mut Document) {
        if let Some(license) = &mut specification.info.license {
            license.identifier = Some(license.name.clone());
        }
    }
}

/// How one shows who one is.
struct Credentials;

impl Modify for Credentials {
    fn modify(&self, specification: &mut Document) {
        let token = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .bearer_format("JWT")
            .description(Some("The access token of a login or a refresh."));
        let cookie = ApiKeyValue::with_description(
            "__Host-session",
            "The cookie of a login with `transport: \"cookie\"`. A request that is no GET, HEAD or OPTIONS needs an `Origin` of \
             the server's own or of `ALLOWED_ORIGINS` beside it; browsers send it by themselves. Not together with a token.",
        );
        let operator = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(
            "The operators' token, of `ADMIN_TOKEN_FILE`: `auth-api admin token` makes one.",
        ));
        let client = HttpBuilder::new().scheme(HttpAuthScheme::Basic).description(Some(
            "The id and the secret of another service: `auth-api clients add ID` makes them.",
        ));
        specification.components.get_or_insert_default().security_schemes.extend([
            ("operator".to_owned(), RefOr::T(SecurityScheme::Http(operator.build()))),
            ("client".to_owned(), RefOr::T(SecurityScheme::Http(client.build()))),
            ("access_token".to_owned(), RefOr::T(SecurityScheme::Http(token.build()))),
            ("session_cookie".to_owned(), RefOr::T(SecurityScheme::ApiKey(ApiKey::Cookie(cookie)))),
        ]);
    }
}

/// What is asked for without its body is answered as with it, but for the body.
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

/// Bodies that need not be there.
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

/// What is not where the rest is.
struct Operations;

impl Modify for Operations {
    fn modify(&self, specification: &mut Document) {
        for (path, item) in &mut specification.paths.paths {
            if path.starts_with(admin::SCOPE) {
                let server = ServerBuilder::new().url("http://127.0.0.1:9082");
                let server = server
                    .description(Some("The operators' port (`ADMIN_BIND`), not for the public."));
                item.servers = Some(vec![server.build()]);
            }
        }
    }
}

fn without_bodies(get: &Operation) -> Operation {
    let mut head = get.clone();
    head.operation_id = get.operation_id.as_ref().map(|id| format!("{id}_head"));
    head.summary = get.summary.as_ref().map(|summary| format!("{summary}, without the body"));
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
        let told: BTreeSet<_> = specification
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
        assert_eq!(told, served.collect());
    }
}
