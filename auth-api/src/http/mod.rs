//! HTTP as all endpoints have it: [`Problem`] answers, [`Json`] bodies, who calls ([`caller`], [`cookie`], [`client`]), what
//! browsers make necessary ([`guard`], [`cors`]), the request log.

pub mod caller;
pub mod client;
pub mod cookie;
pub mod cors;
pub mod guard;
mod json;
pub mod observe;
mod problem;
mod query;

pub use json::{Json, OptionalJson};
pub use problem::Problem;
pub use query::Query;
