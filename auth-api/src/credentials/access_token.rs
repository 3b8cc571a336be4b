//! Access tokens: JWTs for resource servers (RFC 9068's shape), signed with Ed25519.

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
/// What is added to the life of a token wherever it is reckoned with: half of what the denylist
/// adds.
const LEEWAY: chrono::Duration = chrono::Duration::seconds(30);
/// Ours are about 600 bytes; nobody makes us parse more.
const MAX_LENGTH: usize = 4096;

/// Makes access tokens and takes them back.
pub struct AccessTokens {
    keys: ArcSwap<SigningKeys>,
    issuer: String,
    audience: String,
    ttl: chrono::Duration,
}

/// Whose token is to be made, by the database's clock.
#[derive(Clone, Debug)]
pub struct Grant<'g> {
    /// `sid`
    pub session_id: SessionId,
    /// `sub`
    pub account_id: AccountId,
    /// `wallet`
    pub wallet: &'g str,
    /// `auth_time`: when its owner authenticated, which a refresh does not change.
    pub authenticated_at: DateTime<Utc>,
    /// `iat`
    pub now: DateTime<Utc>,
    /// When its session ends unless it is used: a token never outlives it.
    pub session_expires_at: DateTime<Utc>,
}

/// A token that was made.
#[derive(Debug)]
pub struct Issued {
    /// The JWT.
    pub token: SecretString,
    /// Seconds until it expires.
    pub expires_in: i64,
}

/// What a genuine token that has not expired says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Its session. Whether that was revoked, the denylist says.
    pub session_id: SessionId,
}

/// Not a token of ours that is good now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAccessToken {
    /// Not made by us, for somebody else, or of another kind.
    #[error("not an access token of ours")]
    NotOurs,
    /// Its time is over.
    #[error("expired")]
    Expired,
    /// It lives for longer than tokens do now.
    #[error("lives for longer than ACCESS_TOKEN_TTL")]
    TooLong,
}

impl InvalidAccessToken {
    /// A word for it.
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

/// What a token says of itself, for whoever introspects it.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Claims {
    /// Who made it.
    pub iss: String,
    /// Whom it is for.
    pub aud: String,
    /// The account's id.
    pub sub: Uuid,
    /// `auth-api`.
    pub client_id: String,
    /// When it was made, in seconds since 1970.
    pub iat: i64,
    /// When it ends, in seconds since 1970.
    pub exp: i64,
    /// Its own id.
    pub jti: Uuid,
    /// Its session.
    pub sid: Uuid,
    /// When its owner authenticated, in seconds since 1970. Tokens of an earlier release have
    /// none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth_time: Option<i64>,
    /// The wallet's address.
    pub wallet: String,
}

/// As little of it as a check needs.
#[derive(Deserialize)]
struct Essence {
    exp: i64,
    sid: Uuid,
}

/// What both have.
trait Expires {
    fn exp(&self) -> i64;
}

impl Expires for Claims {
    fn exp(&self) -> i64 {
        self.exp
    }
}

impl Expires for Essence {
    fn exp(&self) -> i64 {
        self.exp
    }
}

impl AccessTokens {
    /// Tokens of this issuer for this audience that live for `ttl`.
    #[must_use]
    pub fn new(keys: SigningKeys, issuer: String, audience: String, ttl: Duration) -> Self {
        // The configuration bounds it to half an hour.
        let ttl = chrono::Duration::from_std(ttl).unwrap_or(chrono::Duration::minutes(15));
        Self { keys: ArcSwap::from_pointee(keys), issuer, audience, ttl }
    }

    /// The keys behind them, as they are now.
    #[must_use]
    pub fn keys(&self) -> Arc<SigningKeys> {
        self.keys.load_full()
    }

    /// `iss`
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// `client_id`: tokens are ours to give, and for any client.
    #[must_use]
    pub fn client_id(&self) -> &'static str {
        CLIENT_ID
    }

    /// Puts other keys into force.
    pub fn replace_keys(&self, keys: SigningKeys) {
        self.keys.store(Arc::new(keys));
    }

    /// Makes a token that lives for `ttl`, or until its session ends if that comes first.
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

    /// Checks a token. The algorithm is ours to say, not the token's: `EdDSA` with the key that
    /// `kid` names among *our* keys; `jku`, `jwk` and `x5c` are never looked at (RFC 8725 §3.1,
    /// §3.10).
    pub fn verify(&self, token: &str, now: DateTime<Utc>) -> Result<Caller, InvalidAccessToken> {
        self.decode::<Essence>(token, now)
            .map(|claims| Caller { session_id: SessionId(claims.sid) })
    }

    /// The same, with all that the token says.
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
        // By the database's clock, below: this host's may be wrong.
        validation.validate_exp = false;
        let claims = jsonwebtoken::decode::<C>(token, key, &validation)
            .map_err(|_| InvalidAccessToken::NotOurs)?
            .claims;
        if now.timestamp() >= claims.exp() {
            return Err(InvalidAccessToken::Expired);
        }
        // Made when ACCESS_TOKEN_TTL was longer: the denylist forgets a session before this token
        // ends.
        if claims.exp() - now.timestamp() > self.ttl.num_seconds() + LEEWAY.num_seconds() {
            return Err(InvalidAccessToken::TooLong);
        }
        Ok(claims)
    }
}
