//! GET /docs/: a page to read the contract on, and to try it. All of it is in the program: nothing
//! is loaded from elsewhere.

use std::sync::{Arc, LazyLock};

use actix_web::http::header::{
    CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, HeaderValue, LOCATION,
    X_FRAME_OPTIONS,
};
use actix_web::{HttpResponse, web};
use hardening::security_headers::OPENER_POLICY;
use utoipa_swagger_ui::Config;

use crate::http::Problem;

/// What the page consists of. The package has more, for other uses.
const FILES: [&str; 7] = [
    "index.css",
    "swagger-ui.css",
    "swagger-ui-bundle.js",
    "swagger-ui-standalone-preset.js",
    "swagger-initializer.js",
    "favicon-16x16.png",
    "favicon-32x32.png",
];

/// Scripts, styles and requests of this very server, and no other's. The page draws its arrows and
/// its padlocks from `data:`.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

/// The page changes with a release.
const CACHE: HeaderValue = HeaderValue::from_static("public, max-age=300");

/// How the page shows the contract. Relative, for a proxy may have it elsewhere; no badge of a
/// validator on the Internet.
static CONFIG: LazyLock<Arc<Config<'static>>> = LazyLock::new(|| {
    let config = Config::from("../openapi.json")
        .validator_url("none")
        .use_base_layout()
        .try_it_out_enabled(false);
    Arc::new(config.default_models_expand_depth(0))
});

/// The page's files are named relative to it.
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
    let mut answer = HttpResponse::Ok();
    answer.insert_header((CACHE_CONTROL, CACHE)).insert_header((CONTENT_SECURITY_POLICY, POLICY));
    if file.content_type.starts_with("text/html") {
        answer.insert_header(OPENER_POLICY);
    }
    answer.insert_header((X_FRAME_OPTIONS, "DENY")).content_type(file.content_type);
    if file.gzpipped {
        answer.insert_header((CONTENT_ENCODING, "gzip"));
    }
    Ok(answer.body(file.bytes.into_owned()))
}
