//! What operators do, by the operations port and from a shell alike: who they are ([`token`]),
//! which sessions they mean ([`filter`]), [`listing`] those and ending them ([`sweep`]).
//!
//! `routes::admin` and `commands::admin` stand on it. They differ in where their connections come
//! from and in how the answer looks.

pub(crate) mod filter;
pub(crate) mod listing;
pub(crate) mod sweep;
mod token;

pub use token::{Admin, AdminToken, AdminTokenError};
