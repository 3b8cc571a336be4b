//! GET /.well-known/oauth-authorization-server: what there is for other services, and where (RFC
//! 8414).

use actix_web::http::header::CACHE_CONTROL;
use actix_web::{HttpResponse, web};
use serde::Serialize;
use url::Url;
use utoipa::ToSchema;

use crate::http::api_spec;
use crate::state::State;

/// RFC 8414 §2. There are no grants: tokens are had by logging in, not by OAuth.
#[derive(Serialize, ToSchema)]
#[schema(as = Metadata)]
struct Metadata<'m> {
    /// `ISSUER`, as it stands in tokens.
    #[schema(examples("https://auth.example.com"))]
    issuer: &'m str,
    /// The public keys.
    #[schema(format = "uri", examples("https://auth.example.com/.well-known/jwks.json"))]
    jwks_uri: String,
    /// Where to ask what a token is worth.
    #[schema(format = "uri", examples("https://auth.example.com/oauth/introspect"))]
    introspection_endpoint: String,
    /// How to authenticate there.
    #[schema(value_type = Vec<String>)]
    introspection_endpoint_auth_methods_supported: [&'static str; 1],
    /// Where to end the session of a token.
    #[schema(format = "uri", examples("https://auth.example.com/oauth/revoke"))]
    revocation_endpoint: String,
    /// How to authenticate there.
    #[schema(value_type = Vec<String>)]
    revocation_endpoint_auth_methods_supported: [&'static str; 1],
    /// None.
    #[schema(value_type = Vec<String>, max_items = 0)]
    response_types_supported: [&'static str; 0],
    /// None.
    #[schema(value_type = Vec<String>, max_items = 0)]
    grant_types_supported: [&'static str; 0],
    /// Where to read on.
    #[schema(format = "uri", examples("https://auth.example.com/docs"))]
    service_documentation: String,
}

const BASIC: [&str; 1] = ["client_secret_basic"];

/// The well-known path, to which the path of an issuer is appended.
pub(super) const PATH: &str = "/.well-known/oauth-authorization-server";

/// The path of the document of an issuer that has a path itself (RFC 8414 §3.1).
pub(super) fn path_of(issuer: &str) -> Option<String> {
    let url = Url::parse(issuer).ok()?;
    let own = url.path().strip_suffix('/').unwrap_or(url.path());
    (!own.is_empty()).then(|| format!("{PATH}{own}"))
}

/// It changes with the configuration alone.
const CACHE: &str = "public, max-age=3600";

/// What there is, and where
///
/// Metadata of an authorization server (RFC 8414). Where `ISSUER` has a path, the document is also
/// served at `/.well-known/oauth-authorization-server/` followed by that path (§3.1).
#[utoipa::path(
    get,
    path = "/.well-known/oauth-authorization-server",
    operation_id = "metadata",
    tag = "discovery",
    responses(
        (status = 200, description = "What there is for other services.", body = Metadata<'static>,
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
