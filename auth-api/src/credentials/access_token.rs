//! Access tokens for resource servers: JWTs as in RFC 9068, signed with Ed25519.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use chrono::{DateTime, Utc};
use jsonwebtoken::{Algorithm, Header, Validation};
use schema::ids::{AccountId, SessionId};
use secrecy::SecretString;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::signing_keys::SigningKeys;

const TYP: &str = "at+jwt";
const CLIENT_ID: &str = "auth-api";
/// Time that is added to the maximum lifetime when the remaining lifetime of a token is checked. It
/// is half of the time that an entry of the denylist (the list of revoked sessions) outlives the
/// last access token of the session.
const LEEWAY: chrono::Duration = chrono::Duration::seconds(30);
/// The maximum length of a token that is parsed, in bytes. Issued tokens are about 600 bytes long.
const MAX_LENGTH: usize = 4096;

/// Issues and verifies access tokens.
pub struct AccessTokens {
    keys: ArcSwap<SigningKeys>,
    issuer: String,
    audience: String,
    ttl: chrono::Duration,
}

/// The contents of a token to issue. All times come from the clock of the database.
#[derive(Clone, Debug)]
pub struct Grant<'g> {
    /// `sid`: the id of the session.
    pub session_id: SessionId,
    /// `sub`: the id of the account.
    pub account_id: AccountId,
    /// `wallet`: the address of the wallet.
    pub wallet: &'g str,
    /// `auth_time`: when the user authenticated. A refresh does not change this time.
    pub authenticated_at: DateTime<Utc>,
    /// `iat`: when the token is issued.
    pub now: DateTime<Utc>,
    /// When the session expires if it is not used. The token expires no later than the session.
    pub session_expires_at: DateTime<Utc>,
}

/// An issued token.
#[derive(Debug)]
pub struct Issued {
    /// The JWT.
    pub token: SecretString,
    /// Seconds until the token expires.
    pub expires_in: i64,
}

/// The caller that a valid token identifies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The session. The token does not show whether the session has been revoked; the denylist
    /// does.
    pub session_id: SessionId,
}

/// Why an access token is not valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAccessToken {
    /// The token was not issued by this service, is for another audience, or has another type.
    #[error("not an access token of this service")]
    NotOurs,
    /// The token has expired.
    #[error("expired")]
    Expired,
    /// The token remains valid for longer than any token that is issued now.
    #[error("remaining lifetime exceeds ACCESS_TOKEN_TTL")]
    TooLong,
}

impl InvalidAccessToken {
    /// Returns the reason as a stable identifier.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotOurs => "not_ours",
            Self::Expired => "expired",
            Self::TooLong => "too_long",
        }
    }
}

#[derive(Serialize)]
struct NewClaims<'c> {
    iss: &'c str,
    aud: &'c str,
    sub: String,
    client_id: &'c str,
    iat: i64,
    exp: i64,
    jti: Uuid,
    sid: Uuid,
    auth_time: i64,
    wallet: &'c str,
}

/// All claims of a token, for introspection.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Claims {
    /// The issuer.
    pub iss: String,
    /// The audience.
    pub aud: String,
    /// The account's id.
    pub sub: Uuid,
    /// The client, which is always `auth-api`.
    pub client_id: String,
    /// When the token was issued, in seconds since 1970.
    pub iat: i64,
    /// When the token expires, in seconds since 1970.
    pub exp: i64,
    /// The token's id.
    pub jti: Uuid,
    /// The session's id.
    pub sid: Uuid,
    /// When the user authenticated, in seconds since 1970. Tokens that earlier releases issued do
    /// not contain this claim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth_time: Option<i64>,
    /// The wallet's address.
    pub wallet: String,
}

/// The claims that verification needs.
#[derive(Deserialize)]
struct RequiredClaims {
    exp: i64,
    sid: Uuid,
}

/// Claims with an expiry time.
trait Expires {
    fn exp(&self) -> i64;
}

impl Expires for Claims {
    fn exp(&self) -> i64 {
        self.exp
    }
}

impl Expires for RequiredClaims {
    fn exp(&self) -> i64 {
        self.exp
    }
}

impl AccessTokens {
    /// Creates an issuer of tokens. The tokens are for this audience and live for `ttl`.
    #[must_use]
    pub fn new(keys: SigningKeys, issuer: String, audience: String, ttl: Duration) -> Self {
        // The configuration limits `ttl` to half an hour.
        let ttl = chrono::Duration::from_std(ttl).unwrap_or(chrono::Duration::minutes(15));
        Self { keys: ArcSwap::from_pointee(keys), issuer, audience, ttl }
    }

    /// Returns the signing keys that are in use now.
    #[must_use]
    pub fn keys(&self) -> Arc<SigningKeys> {
        self.keys.load_full()
    }

    /// Returns the issuer, `iss`.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Returns the claim `client_id`. It is the same in all tokens, whichever program logged in,
    /// because these programs have no client ids of their own.
    #[must_use]
    pub fn client_id(&self) -> &'static str {
        CLIENT_ID
    }

    /// Replaces the signing keys.
    pub fn replace_keys(&self, keys: SigningKeys) {
        self.keys.store(Arc::new(keys));
    }

    /// Issues a token that expires after `ttl` or when its session expires, whichever is earlier.
    pub fn issue(&self, grant: &Grant<'_>) -> Result<Issued, jsonwebtoken::errors::Error> {
        let keys = self.keys.load();
        let (kid, key) = keys.signer(grant.now);
        let iat = grant.now.timestamp();
        let exp = (iat + self.ttl.num_seconds()).min(grant.session_expires_at.timestamp());
        let claims = NewClaims {
            iss: &self.issuer,
            aud: &self.audience,
            sub: grant.account_id.to_string(),
            client_id: CLIENT_ID,
            iat,
            exp,
            jti: Uuid::new_v4(),
            sid: grant.session_id.0,
            auth_time: grant.authenticated_at.timestamp(),
            wallet: grant.wallet,
        };
        let mut header = Header::new(Algorithm::EdDSA);
        header.typ = Some(TYP.into());
        header.kid = Some(kid.into());
        let token = jsonwebtoken::encode(&header, &claims, key)?;
        Ok(Issued { token: token.into(), expires_in: exp - iat })
    }

    /// Verifies a token. The only accepted algorithm is `EdDSA`. The token is verified with the key
    /// of this service that `kid` names. The header fields `jku`, `jwk`, and `x5c` are ignored (RFC
    /// 8725 §3.1, §3.10).
    pub fn verify(&self, token: &str, now: DateTime<Utc>) -> Result<Caller, InvalidAccessToken> {
        self.decode::<RequiredClaims>(token, now)
            .map(|claims| Caller { session_id: SessionId(claims.sid) })
    }

    /// Verifies a token like [`Self::verify`], and returns all its claims.
    pub fn read(&self, token: &str, now: DateTime<Utc>) -> Result<Claims, InvalidAccessToken> {
        self.decode(token, now)
    }

    fn decode<C: DeserializeOwned + Expires>(
        &self,
        token: &str,
        now: DateTime<Utc>,
    ) -> Result<C, InvalidAccessToken> {
        if token.len() > MAX_LENGTH {
            return Err(InvalidAccessToken::NotOurs);
        }
        let header = jsonwebtoken::decode_header(token).map_err(|_| InvalidAccessToken::NotOurs)?;
        if header.typ.as_deref() != Some(TYP) || header.crit.is_some() {
            return Err(InvalidAccessToken::NotOurs);
        }
        let keys = self.keys.load();
        let key = header
            .kid
            .as_deref()
            .and_then(|kid| keys.verifier(kid))
            .ok_or(InvalidAccessToken::NotOurs)?;
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_issuer(&[&self.issuer]);
        validation.set_audience(&[&self.audience]);
        validation.set_required_spec_claims(&["exp", "iss", "aud"]);
        // The expiry is checked below by the clock of the database, because the clock of this host
        // may be wrong.
        validation.validate_exp = false;
        let claims = jsonwebtoken::decode::<C>(token, key, &validation)
            .map_err(|_| InvalidAccessToken::NotOurs)?
            .claims;
        if now.timestamp() >= claims.exp() {
            return Err(InvalidAccessToken::Expired);
        }
        // If the remaining lifetime exceeds the maximum, the token was issued while
        // ACCESS_TOKEN_TTL was longer. The token is rejected, because the denylist may drop the
        // entry of its session before the token expires.
        if claims.exp() - now.timestamp() > self.ttl.num_seconds() + LEEWAY.num_seconds() {
            return Err(InvalidAccessToken::TooLong);
        }
        Ok(claims)
    }
}
