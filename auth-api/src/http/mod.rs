//! The parts of HTTP that all endpoints share:
//!
//! - [`Json`] bodies, [`Query`] strings, and [`Problem`] responses;
//! - authentication of the caller: [`caller`], [`cookie`], [`Client`], [`Peer`];
//! - requests from other services: [`Form`], [`oauth`];
//! - protection for browsers: [`guard`], [`cors`];
//! - the `WWW-Authenticate` challenge in a 401 response: [`bearer_error`];
//! - limits on requests ([`limit`]), on the number of [`connections`], and on each connection
//!   ([`bounds`]);
//! - the log and the metrics of requests: [`observe`];
//! - the error responses in the API specification: [`api_spec`].

pub mod api_spec;
pub mod bearer;
pub mod bearer_error;
mod body;
pub mod bounds;
pub mod caller;
mod client;
pub mod connections;
pub mod cookie;
pub(crate) mod cookie_session;
pub mod cors;
pub mod credential;
mod form;
pub mod guard;
mod idempotency;
mod json;
pub mod limit;
pub mod live_session;
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
