//! GET /demo: a page that logs in with a wallet and shows the requests and responses. It is served
//! only if `DEMO=1` is set. The page is an ordinary client of the API, and all its files are part
//! of the binary.

use actix_web::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue};
use actix_web::{HttpResponse, web};
use hardening::security_headers::OPENER_POLICY;
use serde_json::json;

use crate::http::Problem;
use crate::state::State;

const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");
const CSS: HeaderValue = HeaderValue::from_static("text/css; charset=utf-8");
const SCRIPT: HeaderValue = HeaderValue::from_static("text/javascript; charset=utf-8");

const FILES: [(&str, HeaderValue, &str); 7] = [
    ("page.css", CSS, include_str!("demo/page.css")),
    ("page.js", SCRIPT, include_str!("demo/page.js")),
    ("draw.js", SCRIPT, include_str!("demo/draw.js")),
    ("api.js", SCRIPT, include_str!("demo/api.js")),
    ("wallets.js", SCRIPT, include_str!("demo/wallets.js")),
    ("encoding.js", SCRIPT, include_str!("demo/encoding.js")),
    // An unchanged copy from the npm package; see the README in the directory of the copy.
    ("freighter-api.js", SCRIPT, include_str!("demo/freighter-api/index.min.js")),
];

/// Allows only scripts and styles from this server, and requests only to this server. Therefore,
/// text from a response can do no harm even if the page interprets the text as markup.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

pub(super) async fn page() -> HttpResponse {
    respond(HTML, include_str!("demo/page.html"))
}

/// Returns a file of the page.
pub(super) async fn file(requested: web::Path<String>) -> Result<HttpResponse, Problem> {
    let found = FILES.into_iter().find(|(name, ..)| *name == *requested);
    found.map(|(_, content_type, text)| respond(content_type, text)).ok_or(Problem::NotFound)
}

fn respond(content_type: HeaderValue, text: &'static str) -> HttpResponse {
    let mut response = HttpResponse::Ok();
    if content_type == HTML {
        response.insert_header(OPENER_POLICY);
    }
    response
        .insert_header((CONTENT_TYPE, content_type))
        .insert_header((CONTENT_SECURITY_POLICY, POLICY))
        .body(text)
}

/// Returns the settings of the API that the page needs and that no other response contains.
pub(super) async fn settings(state: web::Data<State>) -> HttpResponse {
    let reuse_grace = u64::try_from(state.lifetimes.reuse_grace.as_millis()).unwrap_or(u64::MAX);
    HttpResponse::Ok()
        .json(json!({ "network": state.network.caip2(), "reuse_grace_ms": reuse_grace }))
}
