//! GET /demo: a page that logs a wallet in and shows what goes over the wire, where `DEMO=1` asks for it. It is a client
//! like any other, and all of it is in the binary.

use actix_web::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY};
use actix_web::http::{Method, StatusCode};
use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::json;

use super::{READ, open};
use crate::http::Problem;
use crate::state::State;

struct Part {
    path: &'static str,
    content_type: &'static str,
    text: &'static str,
}

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

const PARTS: [Part; 8] = [
    Part { path: "/demo", content_type: HTML, text: include_str!("demo/page.html") },
    Part { path: "/demo/page.css", content_type: CSS, text: include_str!("demo/page.css") },
    Part { path: "/demo/page.js", content_type: SCRIPT, text: include_str!("demo/page.js") },
    Part { path: "/demo/draw.js", content_type: SCRIPT, text: include_str!("demo/draw.js") },
    Part { path: "/demo/api.js", content_type: SCRIPT, text: include_str!("demo/api.js") },
    Part { path: "/demo/wallets.js", content_type: SCRIPT, text: include_str!("demo/wallets.js") },
    Part { path: "/demo/encoding.js", content_type: SCRIPT, text: include_str!("demo/encoding.js") },
    // Of npm, unchanged: see the README beside it.
    Part {
        path: "/demo/freighter-api.js",
        content_type: SCRIPT,
        text: include_str!("demo/freighter-api/index.min.js"),
    },
];

const SETTINGS: &str = "/demo/settings.json";

/// Only our own files run, and only we are spoken to: what an answer says can do nothing, even if it were taken for markup.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The page, its parts, and what it has to know.
pub fn page(config: &mut ServiceConfig) {
    for part in &PARTS {
        config.service(open(part.path, &[(READ, |route| route.to(get))]).resource());
    }
    config.service(open(SETTINGS, &[(READ, |route| route.to(settings))]).resource());
}

/// What the page and its parts answer.
pub(super) fn answers() -> impl Iterator<Item = (Method, String, StatusCode)> {
    let paths = PARTS.iter().map(|part| part.path).chain([SETTINGS]);
    paths.flat_map(|path| READ.iter().map(move |method| (method.clone(), path.to_owned(), StatusCode::OK)))
}

async fn get(http: HttpRequest) -> Result<HttpResponse, Problem> {
    let part = PARTS.iter().find(|part| part.path == http.path()).ok_or(Problem::NotFound)?;
    Ok(HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, part.content_type))
        .insert_header((CONTENT_SECURITY_POLICY, POLICY))
        .insert_header((REFERRER_POLICY, "no-referrer"))
        .body(part.text))
}

async fn settings(state: web::Data<State>) -> HttpResponse {
    let reuse_grace = u64::try_from(state.lifetimes.reuse_grace.as_millis()).unwrap_or(u64::MAX);
    HttpResponse::Ok().json(json!({ "network": state.network.caip2(), "reuse_grace_ms": reuse_grace }))
}
