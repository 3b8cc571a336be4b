//! Credentials that auth-api made, and what makes it refuse them: as data.

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

/// What carries a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// To GET /auth/session.
    Cookie,
    /// To POST /auth/refresh.
    RefreshToken,
}

/// What a credential is refused for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// Its session is gone.
    Unknown,
    /// Its session has expired.
    Expired,
    /// Its session was revoked.
    Revoked,
    /// It is genuine, and yet not the one whose hash is stored.
    WrongSecret,
    /// We never made it: that may be seen, for it says nothing of any session.
    Forged,
}

impl Carrier {
    /// All.
    pub const ALL: [Self; 2] = [Self::Cookie, Self::RefreshToken];

    /// In results.
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

    /// The credential of a login's answer.
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
    /// All.
    pub const ALL: [Self; 5] =
        [Self::Unknown, Self::Expired, Self::Revoked, Self::WrongSecret, Self::Forged];

    /// In results.
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

    /// Whether its time must not tell it from others.
    #[must_use]
    pub fn is_secret(self) -> bool {
        self != Self::Forged
    }

    /// What makes it one, for the sessions `$1`.
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

/// For each reason, the requests that are refused for it.
pub(super) async fn prepare(
    options: &Options,
    serving: &Serving,
    client: &Client,
    carrier: Carrier,
) -> Result<Vec<(Reason, Vec<Request>)>> {
    let mut connection = Connection::open(serving.api).await?;
    let mut all = Reason::ALL.map(|reason| (reason, Vec::new()));
    let mut sessions = Reason::ALL.map(|reason| (reason, Vec::new()));
    // By turns, so that none of them lies in another part of the tables.
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

/// One character of its secret.
fn alter(credential: &mut String) {
    let at = credential.len() - 40;
    let other = if credential[at..].starts_with('A') { "B" } else { "A" };
    credential.replace_range(at..=at, other);
}
