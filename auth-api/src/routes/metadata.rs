//! GET /.well-known/oauth-authorization-server: what there is for other services, and where (RFC 8414).

use actix_web::http::header::CACHE_CONTROL;
use actix_web::{HttpResponse, web};
use serde::Serialize;

use crate::state::State;

/// RFC 8414 §2. There are no grants: tokens are had by logging in, not by OAuth.
#[derive(Serialize)]
struct Metadata<'m> {
    issuer: &'m str,
    jwks_uri: String,
    introspection_endpoint: String,
    introspection_endpoint_auth_methods_supported: [&'static str; 1],
    revocation_endpoint: String,
    revocation_endpoint_auth_methods_supported: [&'static str; 1],
    response_types_supported: [&'static str; 0],
    grant_types_supported: [&'static str; 0],
    service_documentation: String,
}

const BASIC: [&str; 1] = ["client_secret_basic"];

/// It changes with the configuration alone.
const CACHE: &str = "public, max-age=3600";

pub(super) async fn get(state: web::Data<State>) -> HttpResponse {
    let at = |path: &str| state.public_url.at(path);
    HttpResponse::Ok().insert_header((CACHE_CONTROL, CACHE)).json(Metadata {
        issuer: state.access_tokens.issuer(),
        jwks_uri: at("/.well-known/jwks.json"),
        introspection_endpoint: at("/oauth/introspect"),
        introspection_endpoint_auth_methods_supported: BASIC,
        revocation_endpoint: at("/oauth/revoke"),
        revocation_endpoint_auth_methods_supported: BASIC,
        response_types_supported: [],
        grant_types_supported: [],
        service_documentation: at("/docs"),
    })
}
