//! The fuzz targets of auth-api. Each target is a function that takes arbitrary bytes and asserts
//! invariants.

mod access_token;
mod challenge_message;
mod edits;
mod refresh_token;
mod session_cookie;
mod strkey_signature;

pub use access_token::access_token;
pub use challenge_message::challenge_message;
pub use refresh_token::refresh_token;
pub use session_cookie::session_cookie;
pub use strkey_signature::strkey_signature;

/// An `AUTH_SECRET` of 32 bytes. It is a constant, so that the corpus can contain tokens that were
/// created with it.
const SECRET: &str = "dGVzdCBzZWNyZXQgb25lLCAzMiBieXRlcyBsb25nLi4=";
/// A different `AUTH_SECRET`.
const OTHER_SECRET: &str = "dGVzdCBzZWNyZXQgdHdvLCAzMiBieXRlcyBsb25nLi4=";
