//! HTTP as all endpoints have it: [`Problem`] answers, [`Json`] bodies, who calls ([`caller`], [`cookie`], [`Client`]), what
//! browsers make necessary ([`guard`], [`cors`]), the [`limit`]s, the [`bounds`] of a connection, the request log; and what of
//! that the contract says of every endpoint ([`documented`]).

pub mod bounds;
pub mod caller;
mod client;
pub mod cookie;
pub mod cors;
pub mod documented;
pub mod guard;
mod json;
pub mod limit;
pub mod observe;
mod problem;
mod query;
pub mod refusal;

pub use client::Client;
pub use json::{Json, OptionalJson};
pub use problem::{Document as ProblemDocument, Problem};
pub use query::Query;
