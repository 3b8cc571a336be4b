//! GET /docs/: a page that displays the API specification and can send requests. All its files are
//! part of the program, so the page loads nothing from other servers.

use std::sync::{Arc, LazyLock};

use actix_web::http::header::{
    CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, HeaderValue, LOCATION,
    X_FRAME_OPTIONS,
};
use actix_web::{HttpResponse, web};
use hardening::security_headers::OPENER_POLICY;
use utoipa_swagger_ui::Config;

use crate::http::Problem;

/// The files of the page. The package contains more files, which the page does not use.
const FILES: [&str; 7] = [
    "index.css",
    "swagger-ui.css",
    "swagger-ui-bundle.js",
    "swagger-ui-standalone-preset.js",
    "swagger-initializer.js",
    "favicon-16x16.png",
    "favicon-32x32.png",
];

/// Allows scripts, styles and requests only from this server. The page uses `data:` URLs for its
/// arrow and padlock icons.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

/// The value of `Cache-Control`. The page changes only with a release.
const CACHE: HeaderValue = HeaderValue::from_static("public, max-age=300");

/// The configuration of the page. The URL of the specification is relative, because a proxy may
/// serve the API under another path. The validator URL `none` removes the badge of the online
/// validator from the page.
static CONFIG: LazyLock<Arc<Config<'static>>> = LazyLock::new(|| {
    let config = Config::from("../openapi.json")
        .validator_url("none")
        .use_base_layout()
        .try_it_out_enabled(false);
    Arc::new(config.default_models_expand_depth(0))
});

/// Redirects to `/docs/`, because the page refers to its files by relative URLs.
pub(super) async fn index() -> HttpResponse {
    HttpResponse::PermanentRedirect().insert_header((LOCATION, "docs/")).finish()
}

pub(super) async fn page() -> Result<HttpResponse, Problem> {
    serve("index.html")
}

pub(super) async fn file(name: web::Path<String>) -> Result<HttpResponse, Problem> {
    if !FILES.contains(&name.as_str()) {
        return Err(Problem::NotFound);
    }
    serve(&name)
}

fn serve(name: &str) -> Result<HttpResponse, Problem> {
    let file = utoipa_swagger_ui::serve(name, Arc::clone(&CONFIG)).map_err(|error| {
        tracing::error!(event = "docs_page_failed", %error, name, "API documentation page not available");
        Problem::Internal
    })?;
    let file = file.ok_or(Problem::NotFound)?;
    let mut response = HttpResponse::Ok();
    response.insert_header((CACHE_CONTROL, CACHE)).insert_header((CONTENT_SECURITY_POLICY, POLICY));
    if file.content_type.starts_with("text/html") {
        response.insert_header(OPENER_POLICY);
    }
    response.insert_header((X_FRAME_OPTIONS, "DENY")).content_type(file.content_type);
    if file.gzpipped {
        response.insert_header((CONTENT_ENCODING, "gzip"));
    }
    Ok(response.body(file.bytes.into_owned()))
}
