//! Sample values for the examples in the API specification. None of them is valid.

/// A wallet's address.
pub const ADDRESS: &str = "GBXFXNDLV4LSWA4VB7YIL5GBD7BVNR22SGBTDKMO2SBZZHDXSKZYCP7L";
/// A challenge for this wallet.
pub const MESSAGE: &str = "auth.example.com wants you to sign in with your Stellar account:
GBXFXNDLV4LSWA4VB7YIL5GBD7BVNR22SGBTDKMO2SBZZHDXSKZYCP7L

Sign in. This proves that you hold the key; it costs nothing and moves nothing.

URI: https://auth.example.com
Version: 1
Chain ID: stellar:pubnet
Nonce: 6f0c2f6b0e9d4a3fb7c1d2e3f4a5b6c79a8b7c6d5e4f30211223344556677889
Issued At: 2026-11-21T09:00:00Z
Expiration Time: 2026-11-21T09:05:00Z
Request ID: 0b9c7a34-5f0e-4f7e-9c55-0d0c6d8d3a7e";
/// A signature of a different message.
pub const SIGNATURE: &str =
    "fO5dbYhXUhBMhe6kId/cuVq/AfEnHRHEvsP8vXh03M1uLpi5e46yO2Q8rEBzu3feXQewcQE5GArp88u6ePK6BA==";
/// Three base64url segments, as in a JWT.
pub const ACCESS_TOKEN: &str =
    "eyJ0eXAiOiJhdCtqd3QiLCJhbGciOiJFZERTQSJ9.eyJzaWQiOiIuLi4ifQ.c2lnbmF0dXJl";
/// A refresh token with the length and the alphabet of an issued one. The bytes of its tag are the
/// text "a tag of sixteen".
pub const REFRESH_TOKEN: &str = "rt_AZfwonw-fRCcVQ0MbY06fgAAAAFhbiBleGFtcGxlLCBhbmQgbm8gc2VjcmV0IGF0IGFsbGEgdGFnIG9mIHNpeHRlZW4";
/// A session's id.
pub const SESSION_ID: &str = "0197f0a2-7c3e-7d10-9c55-0d0c6d8d3a7e";
/// An account's id.
pub const ACCOUNT_ID: &str = "0197f0a2-1111-7d10-9c55-0d0c6d8d3a7e";
