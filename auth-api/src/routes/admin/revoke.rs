//! POST /admin/sessions/revoke: ends all sessions that match, or says how many that would be.

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;

use super::follow_up;
use crate::admin::filter::Words;
use crate::admin::sweep::{Done, Sweep};
use crate::audit::{self, Operator};
use crate::http::{Client, Json, Problem};
use crate::state::{DatabaseError, State, timed};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Request {
    /// Not left to a default: whoever asks says whether it is in earnest.
    dry_run: bool,
    #[serde(default)]
    all: bool,
    account: Option<String>,
    ip: Option<String>,
    transport: Option<String>,
    older_than: Option<String>,
    younger_than: Option<String>,
    created_before: Option<String>,
}

pub(super) async fn post(
    http: HttpRequest,
    state: web::Data<State>,
    request: Json<Request>,
) -> Result<HttpResponse, Problem> {
    let Json(Request { dry_run, all, account, ip, transport, older_than, younger_than, created_before }) = request;
    let words = Words { account, ip, transport, older_than, younger_than, created_before };
    if all != words.are_none() {
        let detail = if all { "It does not go with a filter." } else { "Expected true, or a filter." };
        return Err(Problem::malformed("all", detail));
    }
    let sweep = Sweep::new(words.parse(state.network, state.now()?)?, dry_run);
    let (shared, client) = (Arc::clone(&state), Client::of(&http, &state.trusted_proxies));
    let done = state.tasks.finish(async move { run(&shared, &client, &words, sweep).await });
    Ok(HttpResponse::Ok().json(done.await??))
}

/// Goes through with it, also for a client that has hung up.
async fn run(state: &State, client: &Client, words: &Words, mut sweep: Sweep) -> Result<Done, Problem> {
    let stopped = loop {
        match step(state, client, &mut sweep).await {
            Ok(true) => {}
            Ok(false) => break None,
            Err(error) => break Some(error),
        }
    };
    let done = sweep.done();
    audit::admin_revoke(Operator::Http(client), words, done);
    let Some(error) = stopped else { return Ok(done) };
    if !error.is_transient() {
        return Err(error.into());
    }
    tracing::warn!(%error, revoked = done.revoked, "a revocation stopped half-way");
    Err(Problem::UnavailableUnless(
        format!("The database did not answer. {} sessions are revoked; ask again for the rest.", done.revoked).into(),
    ))
}

/// Whether there is more to do.
async fn step(state: &State, client: &Client, sweep: &mut Sweep) -> Result<bool, DatabaseError> {
    let ended = {
        let mut connection = state.database.acquire().await?;
        let watch = connection.watch();
        timed(watch, "sweep_sessions", sweep.step(&mut connection)).await
    };
    let Some(ended) = ended.inspect_err(|_| state.denylist.doubt())? else { return Ok(false) };
    follow_up(state, client, &ended).await;
    Ok(true)
}
