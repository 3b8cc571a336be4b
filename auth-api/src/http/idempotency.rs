use std::fmt;

use actix_web::HttpRequest;
use schema::ids::{SessionId, TokenHash};
use secrecy::zeroize::Zeroizing;
use utoipa::IntoParams;

use super::Problem;

/// The header as the API specification describes it.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "only the specification reads it")]
pub struct IdempotencyHeader {
    /// A random string that identifies this attempt. The client stores the string before it sends
    /// the request, and sends the same string with each retry.
    #[param(
        rename = "Idempotency-Key",
        value_type = String,
        required = false,
        min_length = 16,
        max_length = 64,
        pattern = "^[!-~]+$",
        example = "5f0e4f7e9c550d0c6d8d3a7e0b9c7a34"
    )]
    key: Option<String>,
}

/// The `Idempotency-Key` header: a random string that a client generates for one attempt and sends
/// again with each retry.
pub struct IdempotencyKey(Zeroizing<String>);

const NAME: &str = "Idempotency-Key";
/// The permitted lengths. The minimum is 16 characters, which can contain at least 80 random bits.
/// The maximum is 64 characters, the length of a hash in hex.
const LENGTH: std::ops::RangeInclusive<usize> = 16..=64;
const CONTEXT: &str = "session-reaper auth-api 2026-11 idempotency key of a refresh";

impl IdempotencyKey {
    /// Returns the key of a request, if it has one.
    pub fn of(request: &HttpRequest) -> Result<Option<Self>, Problem> {
        let mut values = request.headers().get_all(NAME);
        let Some(value) = values.next() else { return Ok(None) };
        let key = value.to_str().ok().filter(|key| LENGTH.contains(&key.len()));
        match (key.filter(|key| key.bytes().all(|byte| byte.is_ascii_graphic())), values.next()) {
            (Some(key), None) => Ok(Some(Self(Zeroizing::new(key.to_owned())))),
            _ => Err(Problem::malformed(
                NAME,
                "Send this header once, with 16 to 64 random ASCII characters and no spaces.",
            )),
        }
    }

    /// Returns the hash of the key for one refresh token, which is identified by its session and
    /// its number in the session (its generation). The hash is stored when the token is rotated. If
    /// the same key is sent with another token, the hash is different.
    #[must_use]
    pub fn hash(&self, session_id: SessionId, generation: u32) -> TokenHash {
        let mut hasher = blake3::Hasher::new_derive_key(CONTEXT);
        hasher
            .update(session_id.0.as_bytes())
            .update(&generation.to_be_bytes())
            .update(self.0.as_bytes());
        TokenHash(*hasher.finalize().as_bytes())
    }
}

impl fmt::Debug for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IdempotencyKey(…)")
    }
}
