//! The functions for operators: authentication by a token ([`token`]), selection of sessions
//! ([`filter`]), [`listing`], and revocation ([`sweep`]).
//!
//! The HTTP API (`routes::admin`) and the command line (`commands::admin`) use this module. They
//! differ in the source of their database connections and in the format of their results.

pub(crate) mod filter;
pub(crate) mod listing;
pub(crate) mod sweep;
mod token;

pub use token::{Admin, AdminToken, AdminTokenError};
