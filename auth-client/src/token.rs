use std::time::{Duration, SystemTime};

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;
use uuid::Uuid;

use crate::Error;

const TYP: &str = "at+jwt";
/// The maximum length of a token that is parsed, in bytes. Access tokens of auth-api are about 600
/// bytes long.
const MAX_LENGTH: usize = 4096;

/// The claims of a verified access token. Unverified tokens are never represented by this type.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AccessToken {
    /// `sub`: id of the account, which is the same for all sessions of a wallet.
    pub account_id: Uuid,
    /// `sid`: id of the session. The token does not show whether the session has been revoked since
    /// the token was issued.
    pub session_id: Uuid,
    /// `auth_time`: when the owner authenticated, in seconds since 1970. Use it for requests that
    /// require a recent login (RFC 9470). `None` if the token was issued by an old release of
    /// auth-api, which did not set this claim.
    pub authenticated_at: Option<i64>,
    /// `wallet`: the address that logged in, `G…`.
    pub wallet: String,
    /// `client_id`: the client that the token was issued to, `auth-api`.
    pub client_id: String,
    /// `jti`: id of the token.
    pub token_id: String,
    /// `iat`, in seconds since 1970.
    pub issued_at: i64,
    /// `exp`, in seconds since 1970.
    pub expires_at: i64,
}

/// The claims that are read from a token. `iss` and `aud` are not included, because the crate
/// jsonwebtoken compares them with the expected values.
#[derive(Deserialize)]
struct Claims {
    sub: Uuid,
    sid: Uuid,
    #[serde(default)]
    auth_time: Option<i64>,
    wallet: String,
    client_id: String,
    jti: String,
    iat: i64,
    exp: i64,
}

/// The requirements that a token must meet.
pub(crate) struct Rules {
    validation: Validation,
    leeway: i64,
}

impl Rules {
    /// Creates the rules. `leeway` is the accepted difference between the clocks of this host and
    /// of auth-api.
    pub(crate) fn new(issuer: &str, audience: &str, leeway: Duration) -> Self {
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_issuer(&[issuer]);
        validation.set_audience(&[audience]);
        validation.set_required_spec_claims(&["exp", "iss", "aud"]);
        // `check` verifies the expiry itself, with the time in its argument `now`.
        validation.validate_exp = false;
        Self { validation, leeway: i64::try_from(leeway.as_secs()).unwrap_or(i64::MAX) }
    }

    /// Returns the id of the key that verifies the token, if the token has the required type and
    /// algorithm. The token cannot select another type or algorithm. Keys that the token contains
    /// or refers to (`jwk`, `jku`, `x5c`) are ignored (RFC 8725 §3.1, §3.10, §3.11).
    pub(crate) fn key_id(token: &str) -> Result<String, Error> {
        if token.len() > MAX_LENGTH {
            return Err(Error::NotAnAccessToken);
        }
        let header = jsonwebtoken::decode_header(token).map_err(|_| Error::NotAnAccessToken)?;
        let ours = header.typ.as_deref() == Some(TYP)
            && header.alg == Algorithm::EdDSA
            && header.crit.is_none();
        header.kid.filter(|_| ours).ok_or(Error::NotAnAccessToken)
    }

    /// Verifies a token with the key that it names. `now` is in seconds since 1970.
    pub(crate) fn check(
        &self,
        token: &str,
        key: &DecodingKey,
        now: i64,
    ) -> Result<AccessToken, Error> {
        let claims = jsonwebtoken::decode::<Claims>(token, key, &self.validation);
        let claims = claims.map_err(|error| match error.kind() {
            ErrorKind::InvalidSignature => Error::BadSignature,
            ErrorKind::InvalidIssuer => Error::OtherIssuer,
            ErrorKind::InvalidAudience => Error::OtherAudience,
            _ => Error::NotAnAccessToken,
        })?;
        let Claims { sub, sid, auth_time, wallet, client_id, jti, iat, exp } = claims.claims;
        if now >= exp.saturating_add(self.leeway) {
            return Err(Error::Expired);
        }
        if iat > now.saturating_add(self.leeway) {
            return Err(Error::TooEarly);
        }
        Ok(AccessToken {
            account_id: sub,
            session_id: sid,
            authenticated_at: auth_time,
            wallet,
            client_id,
            token_id: jti,
            issued_at: iat,
            expires_at: exp,
        })
    }
}

/// Returns the host's time in seconds since 1970.
pub(crate) fn host_now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}
