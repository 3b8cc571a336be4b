//! HTTP as all endpoints have it: [`Problem`] answers, [`Json`] bodies, the [`bearer`] check, the [`Client`] who asks, the
//! [`limit`]s, the [`bounds`] of a connection, the request log.

pub mod bearer;
pub mod bounds;
mod client;
mod json;
pub mod limit;
pub mod observe;
mod problem;

pub use client::Client;
pub use json::{Json, OptionalJson};
pub use problem::Problem;
