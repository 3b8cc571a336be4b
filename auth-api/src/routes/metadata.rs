//! GET /.well-known/oauth-authorization-server: the metadata of the authorization server, which
//! lists the endpoints for other services (RFC 8414).

use actix_web::http::header::CACHE_CONTROL;
use actix_web::{HttpResponse, web};
use serde::Serialize;
use url::Url;
use utoipa::ToSchema;

use crate::http::api_spec;
use crate::state::State;

/// Authorization server metadata (RFC 8414 §2). There are no grant types, because clients get
/// tokens by logging in and not through an OAuth grant.
#[derive(Serialize, ToSchema)]
#[schema(as = Metadata)]
struct Metadata<'m> {
    /// The issuer: the value of `ISSUER`, which is also the `iss` claim of tokens.
    #[schema(examples("https://auth.example.com"))]
    issuer: &'m str,
    /// The URL of the public keys.
    #[schema(format = "uri", examples("https://auth.example.com/.well-known/jwks.json"))]
    jwks_uri: String,
    /// The URL of token introspection.
    #[schema(format = "uri", examples("https://auth.example.com/oauth/introspect"))]
    introspection_endpoint: String,
    /// The authentication methods of the introspection endpoint.
    #[schema(value_type = Vec<String>)]
    introspection_endpoint_auth_methods_supported: [&'static str; 1],
    /// The URL of token revocation.
    #[schema(format = "uri", examples("https://auth.example.com/oauth/revoke"))]
    revocation_endpoint: String,
    /// The authentication methods of the revocation endpoint.
    #[schema(value_type = Vec<String>)]
    revocation_endpoint_auth_methods_supported: [&'static str; 1],
    /// The response types. Always empty.
    #[schema(value_type = Vec<String>, max_items = 0)]
    response_types_supported: [&'static str; 0],
    /// The grant types. Always empty.
    #[schema(value_type = Vec<String>, max_items = 0)]
    grant_types_supported: [&'static str; 0],
    /// The URL of the API documentation.
    #[schema(format = "uri", examples("https://auth.example.com/docs"))]
    service_documentation: String,
}

const BASIC: [&str; 1] = ["client_secret_basic"];

/// The path of the metadata document. If the issuer is a URL with a path, the document is also
/// served at this path followed by the path of the issuer.
pub(super) const PATH: &str = "/.well-known/oauth-authorization-server";

/// Returns the path of the metadata document of an issuer that has a path (RFC 8414 §3.1). Returns
/// `None` if the issuer has no path.
pub(super) fn path_of(issuer: &str) -> Option<String> {
    let url = Url::parse(issuer).ok()?;
    let issuer_path = url.path().strip_suffix('/').unwrap_or(url.path());
    (!issuer_path.is_empty()).then(|| format!("{PATH}{issuer_path}"))
}

/// The value of `Cache-Control`. The document changes only with the configuration.
const CACHE: &str = "public, max-age=3600";

/// Retrieve the server metadata
///
/// Returns the URLs of the endpoints for other services, as authorization server metadata (RFC
/// 8414). If `ISSUER` has a path, the document is also served at
/// `/.well-known/oauth-authorization-server/` followed by that path (§3.1).
#[utoipa::path(
    get,
    path = "/.well-known/oauth-authorization-server",
    operation_id = "metadata",
    tag = "discovery",
    responses(
        (status = 200, description = "The metadata of the authorization server.", body = Metadata<'static>,
         headers(("Cache-Control" = String, description = "`public, max-age=3600`"))),
        api_spec::Anything
    )
)]
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
