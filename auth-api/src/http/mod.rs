//! HTTP as all endpoints have it: [`Problem`] answers, [`Json`] bodies, who calls ([`caller`],
//! [`cookie`], [`Client`], [`Peer`]), what other services send and get ([`Form`], [`oauth`]), what
//! browsers make necessary ([`guard`], [`cors`]), what a 401 says ([`bearer_error`]), the
//! [`limit`]s, all [`connections`] and the [`bounds`] of each, the request log; and what of that
//! the contract says of every endpoint ([`documented`]).

pub mod api_spec;
pub mod bearer_error;
mod body;
pub mod bounds;
pub mod caller;
mod client;
pub mod connections;
pub mod cookie;
pub(crate) mod cookie_session;
pub mod cors;
mod form;
pub mod guard;
mod idempotency;
mod json;
pub mod limit;
pub mod oauth;
pub mod observe;
pub mod ops_host;
mod peer;
mod problem;
mod query;
pub mod response_delay;
pub mod response_headers;

pub use client::Client;
pub use connections::Connections;
pub use form::{Form, FormFields};
pub use idempotency::{IdempotencyHeader, IdempotencyKey};
pub use json::{Json, OptionalJson};
pub use oauth::ErrorDocument as OAuthErrorDocument;
pub use peer::Peer;
pub use problem::{Document as ProblemDocument, Problem};
pub use query::Query;
