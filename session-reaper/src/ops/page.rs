//! The status page: a single file in the binary that loads only `/status.json`.

use actix_web::HttpResponse;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hardening::security_headers::OPENER_POLICY;
use sha2::{Digest as _, Sha256};

const HTML: &str = include_str!("page.html");

/// The page and its content security policy.
pub(super) struct Page {
    policy: String,
}

impl Page {
    /// Creates the page and the policy. The policy allows only the page's own script and style, by
    /// their hashes. Even if text from the database were parsed as markup, it could not run, load
    /// or send anything.
    pub(super) fn new() -> Self {
        let (script, style) = (hash("<script>", "</script>"), hash("<style>", "</style>"));
        let policy = format!(
            "default-src 'none'; script-src 'sha256-{script}'; style-src 'sha256-{style}'; connect-src 'self'; \
             img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        );
        Self { policy }
    }

    pub(super) fn answer(&self) -> HttpResponse {
        HttpResponse::Ok()
            .insert_header((CONTENT_TYPE, "text/html; charset=utf-8"))
            .insert_header((CACHE_CONTROL, "no-store"))
            .insert_header((CONTENT_SECURITY_POLICY, self.policy.as_str()))
            .insert_header(OPENER_POLICY)
            .body(HTML)
    }
}

/// Returns the hash of the text between the first `open` and the next `close`, in the format of a
/// CSP source.
fn hash(open: &str, close: &str) -> String {
    let inner = HTML
        .split_once(open)
        .and_then(|(_, rest)| rest.split_once(close))
        .map_or("", |(inner, _)| inner);
    STANDARD.encode(Sha256::digest(inner))
}
