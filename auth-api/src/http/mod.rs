//! HTTP as all endpoints have it: [`Problem`] answers, [`Json`] bodies, the [`bearer`] check, the request log.

pub mod bearer;
mod json;
pub mod observe;
mod problem;

pub use json::{Json, OptionalJson};
pub use problem::Problem;
