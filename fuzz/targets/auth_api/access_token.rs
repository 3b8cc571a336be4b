use std::sync::LazyLock;
use std::time::Duration;

use auth_api::credentials::access_token::{AccessTokens, Grant};
use auth_api::credentials::signing_keys::SigningKeys;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{EncodePrivateKey as _, KeypairBytes};
use ed25519_dalek::{Signature, Signer as _, SigningKey};
use schema::ids::{AccountId, SessionId};
use serde_json::Value;
use uuid::Uuid;

use super::edits::edited_text;

const KID: &str = "20200101T000000Z-fuzz";
const ISSUER: &str = "https://auth.example.test";
const AUDIENCE: &str = "https://api.example.test";
const TTL: i64 = 900;
/// The tolerance for differences between clocks, in seconds.
const LEEWAY: i64 = 30;

static KEY: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::from_bytes(&[5; 32]));
static TOKENS: LazyLock<AccessTokens> = LazyLock::new(|| {
    let directory = tempfile::TempDir::new().unwrap();
    let pem = KeypairBytes { secret_key: KEY.to_bytes(), public_key: None }
        .to_pkcs8_pem(LineEnding::LF)
        .unwrap();
    std::fs::write(directory.path().join(format!("{KID}.pem")), pem.as_bytes()).unwrap();
    let keys = SigningKeys::read(directory.path(), Duration::ZERO).unwrap();
    AccessTokens::new(keys, ISSUER.to_owned(), AUDIENCE.to_owned(), Duration::from_mins(15))
});
/// The time at which the tokens of the corpus were issued.
static NOW: LazyLock<DateTime<Utc>> =
    LazyLock::new(|| DateTime::parse_from_rfc3339("2026-11-21T09:00:00Z").unwrap().to_utc());
static GENUINE: LazyLock<String> = LazyLock::new(|| {
    use secrecy::ExposeSecret as _;
    let grant = Grant {
        session_id: SessionId(Uuid::from_u128(7)),
        account_id: AccountId(Uuid::from_u128(8)),
        wallet: "G",
        authenticated_at: *NOW,
        now: *NOW,
        session_expires_at: *NOW + TimeDelta::days(1),
    };
    TOKENS.issue(&grant).unwrap().token.expose_secret().to_owned()
});

/// Asserts that every accepted token has a valid signature, has the right type, issuer and
/// audience, and is valid at the current time.
///
/// The input is a token. If the input contains a newline, it is a header and claims instead, and
/// this function signs them.
pub fn access_token(data: &[u8]) {
    if let Ok(text) = str::from_utf8(data) {
        let token = text
            .split_once('\n')
            .map_or_else(|| text.to_owned(), |(header, claims)| signed(header, claims));
        if let Ok(caller) = TOKENS.verify(&token, *NOW) {
            assert_eq!(expected_session(&token), Some(caller.session_id.0), "{text:?}");
        }
    }
    assert!(TOKENS.verify(&GENUINE, *NOW).is_ok());
    if let Some(altered) = edited_text(&GENUINE, data) {
        assert!(TOKENS.verify(&altered, *NOW).is_err(), "altered token accepted: {altered}");
    }
    if let Some((&seconds, _)) = data.split_first_chunk::<2>() {
        let later = i64::from(i16::from_be_bytes(seconds));
        let accepted = TOKENS.verify(&GENUINE, *NOW + TimeDelta::seconds(later)).is_ok();
        assert_eq!(accepted, (-LEEWAY..TTL).contains(&later), "after {later} s");
    }
}

fn signed(header: &str, claims: &str) -> String {
    let input = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let signature = KEY.sign(input.as_bytes()).to_bytes();
    format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// Returns the session of a valid token, or `None` if the token is not valid. This function
/// verifies the token with different code than auth-api: with another implementation of the
/// signature check, and with untyped JSON values.
fn expected_session(token: &str) -> Option<Uuid> {
    let [header, claims, signature] = token.split('.').collect::<Vec<_>>()[..] else { return None };
    let json =
        |part: &str| serde_json::from_slice::<Value>(&URL_SAFE_NO_PAD.decode(part).ok()?).ok();
    let signature = Signature::from_slice(&URL_SAFE_NO_PAD.decode(signature).ok()?).ok()?;
    let (input, _) = token.rsplit_once('.')?;
    KEY.verifying_key().verify_strict(input.as_bytes(), &signature).ok()?;

    let (header, claims) = (json(header)?, json(claims)?);
    let ours = header["alg"] == "EdDSA" && header["typ"] == "at+jwt" && header["kid"] == KID;
    let matches = |claim: &Value, wanted: &str| {
        claim == wanted
            || claim.as_array().is_some_and(|values| values.iter().any(|value| value == wanted))
    };
    let for_us = matches(&claims["iss"], ISSUER) && matches(&claims["aud"], AUDIENCE);
    let left = claims["exp"].as_i64()?.checked_sub(NOW.timestamp())?;
    let valid = ours
        && header.get("crit").is_none_or(Value::is_null)
        && for_us
        && (1..=TTL + LEEWAY).contains(&left);
    valid.then(|| claims["sid"].as_str()?.parse().ok()).flatten()
}
