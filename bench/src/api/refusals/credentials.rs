//! Credentials that auth-api issued, and the reasons for which it rejects them, as data.

use anyhow::{Context as _, Result};
use hyper::header::COOKIE;
use serde_json::json;
use testkit::Wallet;
use tokio_postgres::Client;
use uuid::Uuid;

use super::Options;
use crate::api::client::{Answer, Connection, Request, get, post};
use crate::api::serving::Serving;

const SETTLE: &str = include_str!("../../../sql/api/settle.sql");

/// A kind of credential that identifies a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// A cookie, sent to GET /auth/session.
    Cookie,
    /// A refresh token, sent to POST /auth/refresh.
    RefreshToken,
}

/// The reason for which a credential is rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// The session of the credential does not exist.
    Unknown,
    /// The session of the credential has expired.
    Expired,
    /// The session of the credential was revoked.
    Revoked,
    /// The credential has a valid tag, but its hash is not the stored hash.
    WrongSecret,
    /// auth-api did not issue the credential. The response time may reveal this reason, because it
    /// does not disclose anything about a session.
    Forged,
}

impl Carrier {
    /// All kinds of credentials.
    pub const ALL: [Self; 2] = [Self::Cookie, Self::RefreshToken];

    /// Returns the name in the results.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Cookie => "cookie, GET /auth/session",
            Self::RefreshToken => "refresh token, POST /auth/refresh",
        }
    }

    fn transport(self) -> &'static str {
        match self {
            Self::Cookie => "cookie",
            Self::RefreshToken => "token",
        }
    }

    /// Returns the credential in the response to a login.
    fn credential(self, answer: &Answer) -> Result<String> {
        match self {
            Self::Cookie => answer.cookie(),
            Self::RefreshToken => answer.string("refresh_token"),
        }
    }

    fn request(self, credential: &str) -> Result<Request> {
        match self {
            Self::Cookie => get("/auth/session", Some((COOKIE, credential))),
            Self::RefreshToken => post("/auth/refresh", &json!({ "refresh_token": credential })),
        }
    }
}

impl Reason {
    /// All reasons.
    pub const ALL: [Self; 5] =
        [Self::Unknown, Self::Expired, Self::Revoked, Self::WrongSecret, Self::Forged];

    /// Returns the name in the results.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::WrongSecret => "wrong secret",
            Self::Forged => "forged",
        }
    }

    /// Returns whether the response time must not reveal this reason.
    #[must_use]
    pub fn is_secret(self) -> bool {
        self != Self::Forged
    }

    /// Returns the statement that changes the sessions `$1`, so that their credentials are rejected
    /// for this reason. Returns `None` if no statement is needed.
    fn sql(self, carrier: Carrier) -> Option<&'static str> {
        match (self, carrier) {
            (Self::Unknown, _) => Some("DELETE FROM sessions WHERE id = ANY($1)"),
            (Self::Expired, _) => Some(
                "UPDATE sessions SET expires_at = now() - interval '1 hour' WHERE id = ANY($1)",
            ),
            (Self::Revoked, _) => Some(
                "UPDATE sessions SET revoked_at = now() - interval '1 hour', revoked_reason = 'logout' WHERE id = ANY($1)",
            ),
            (Self::WrongSecret, Carrier::Cookie) => {
                Some("UPDATE sessions SET token_hash = sha256(token_hash) WHERE id = ANY($1)")
            }
            (Self::WrongSecret, Carrier::RefreshToken) => Some(
                "UPDATE token_families SET token_hash = sha256(token_hash) WHERE session_id = ANY($1)",
            ),
            (Self::Forged, _) => None,
        }
    }
}

/// Returns the requests that are rejected for each reason.
pub(super) async fn prepare(
    options: &Options,
    serving: &Serving,
    client: &Client,
    carrier: Carrier,
) -> Result<Vec<(Reason, Vec<Request>)>> {
    let mut connection = Connection::open(serving.api).await?;
    let mut all = Reason::ALL.map(|reason| (reason, Vec::new()));
    let mut sessions = Reason::ALL.map(|reason| (reason, Vec::new()));
    // Alternate between the reasons, so that their sessions are spread evenly over the tables.
    for _ in 0..options.credentials {
        for ((reason, requests), (_, sessions)) in all.iter_mut().zip(&mut sessions) {
            let answer = connection.log_in(&Wallet::generate(), carrier.transport()).await?;
            let mut credential = carrier.credential(&answer)?;
            if *reason == Reason::Forged {
                alter(&mut credential);
            }
            requests.push(carrier.request(&credential)?);
            sessions.push(answer.string("session_id")?.parse::<Uuid>()?);
        }
    }
    for (reason, sessions) in &sessions {
        if let Some(sql) = reason.sql(carrier) {
            client.execute(sql, &[sessions]).await.with_context(|| reason.name())?;
        }
    }
    for statement in SETTLE.split(";\n").filter(|statement| !statement.trim().is_empty()) {
        client.batch_execute(statement).await?;
    }
    Ok(all.into())
}

/// Changes one character of the secret.
fn alter(credential: &mut String) {
    let at = credential.len() - 40;
    let other = if credential[at..].starts_with('A') { "B" } else { "A" };
    credential.replace_range(at..=at, other);
}
