//! GET /auth/session: the caller's own session and account.

use actix_web::{HttpRequest, HttpResponse, web};
use chrono::{DateTime, Utc};
use serde::Serialize;
use uuid::Uuid;

use super::sessions::SessionAnswer;
use crate::http::{Problem, caller};
use crate::state::State;

#[derive(Serialize)]
struct Answer {
    session: SessionAnswer,
    account: AccountAnswer,
}

#[derive(Serialize)]
struct AccountAnswer {
    id: Uuid,
    issuer: String,
    subject: String,
    created_at: DateTime<Utc>,
}

pub(super) async fn get(http: HttpRequest, state: web::Data<State>) -> Result<HttpResponse, Problem> {
    let session = caller::authenticate(&http, &state).await?;
    let answer = SessionAnswer::of(&session, true);
    let account = session.account;
    Ok(HttpResponse::Ok().json(Answer {
        session: answer,
        account: AccountAnswer {
            id: account.id.0,
            issuer: account.issuer,
            subject: account.subject,
            created_at: account.created_at,
        },
    }))
}
