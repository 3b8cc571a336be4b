//! GET /auth/session: the caller's own session and account.

use std::net::IpAddr;
use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, web};
use chrono::{DateTime, Utc};
use schema::sessions::Session;
use serde::Serialize;
use uuid::Uuid;

use crate::http::{Problem, bearer};
use crate::state::{DatabaseError, State, timed};

#[derive(Serialize)]
struct Answer {
    session: SessionAnswer,
    account: AccountAnswer,
}

#[derive(Serialize)]
struct SessionAnswer {
    id: Uuid,
    transport: &'static str,
    device: Option<String>,
    ip: Option<IpAddr>,
    created_at: DateTime<Utc>,
    last_seen_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
    current: bool,
}

#[derive(Serialize)]
struct AccountAnswer {
    id: Uuid,
    issuer: String,
    subject: String,
    created_at: DateTime<Utc>,
}

pub(super) async fn get(http: HttpRequest, state: web::Data<State>) -> Result<HttpResponse, Problem> {
    let caller = bearer::authenticate(&http, &state).await?;
    let shared = Arc::clone(&state);
    let found = state.tasks.finish(async move {
        let mut connection = shared.database.acquire().await?;
        Ok::<_, DatabaseError>(
            timed(connection.watch(), "find_live_session", Session::find_live(&mut connection, caller.session_id))
                .await?,
        )
    });
    // Not denied and yet not live: it has expired, or was revoked this moment.
    let session = found.await??.ok_or(Problem::Unauthenticated)?;
    let account = session.account;
    Ok(HttpResponse::Ok().json(Answer {
        session: SessionAnswer {
            id: session.id.0,
            transport: if session.has_tokens { "token" } else { "cookie" },
            device: session.user_agent,
            ip: session.ip,
            created_at: session.created_at,
            last_seen_at: session.last_seen_at,
            expires_at: session.expires_at,
            current: true,
        },
        account: AccountAnswer {
            id: account.id.0,
            issuer: account.issuer,
            subject: account.subject,
            created_at: account.created_at,
        },
    }))
}
