//! What is fuzzed of auth-api: a function a target, of whatever bytes. Each asserts what must hold
//! of them.

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

/// Any 32 bytes: `AUTH_SECRET`, always the same, so that a corpus can hold what was made with it.
const SECRET: &str = "dGVzdCBzZWNyZXQgb25lLCAzMiBieXRlcyBsb25nLi4=";
/// Another one.
const OTHER_SECRET: &str = "dGVzdCBzZWNyZXQgdHdvLCAzMiBieXRlcyBsb25nLi4=";
