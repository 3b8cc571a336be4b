//! GET /demo: a page that logs a wallet in and shows what goes over the wire, where `DEMO=1` asks
//! for it. It is a client like any other, and all of it is in the binary.

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
    // Of npm, unchanged: see the README beside it.
    ("freighter-api.js", SCRIPT, include_str!("demo/freighter-api/index.min.js")),
];

/// Only our own files run, and only we are spoken to: what an answer says can do nothing, even if
/// it were taken for markup.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

pub(super) async fn page() -> HttpResponse {
    answer(HTML, include_str!("demo/page.html"))
}

/// A file that the page consists of.
pub(super) async fn file(wanted: web::Path<String>) -> Result<HttpResponse, Problem> {
    let found = FILES.into_iter().find(|(name, ..)| *name == *wanted);
    found.map(|(_, content_type, text)| answer(content_type, text)).ok_or(Problem::NotFound)
}

fn answer(content_type: HeaderValue, text: &'static str) -> HttpResponse {
    let mut answer = HttpResponse::Ok();
    if content_type == HTML {
        answer.insert_header(OPENER_POLICY);
    }
    answer
        .insert_header((CONTENT_TYPE, content_type))
        .insert_header((CONTENT_SECURITY_POLICY, POLICY))
        .body(text)
}

/// What the page has to know of the API that an answer does not tell it.
pub(super) async fn settings(state: web::Data<State>) -> HttpResponse {
    let reuse_grace = u64::try_from(state.lifetimes.reuse_grace.as_millis()).unwrap_or(u64::MAX);
    HttpResponse::Ok()
        .json(json!({ "network": state.network.caip2(), "reuse_grace_ms": reuse_grace }))
}
