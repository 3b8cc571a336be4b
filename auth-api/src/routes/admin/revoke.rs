//! POST /admin/sessions/revoke: ends all sessions that match, or says how many that would be.

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use utoipa::ToSchema;

use super::follow_up;
use crate::admin::filter::Words;
use crate::admin::sweep::{Done, Sweep};
use crate::audit::{self, Operator};
use crate::http::api_spec::example;
use crate::http::caller::Transport;
use crate::http::{Client, Json, Problem, api_spec};
use crate::state::{DatabaseError, State, timed};

/// Which sessions are to end. All filters that are given must hold.
#[derive(Deserialize, ToSchema)]
#[schema(as = AdminRevokeRequest)]
#[serde(deny_unknown_fields)]
pub(in crate::routes) struct Request {
    /// Whether nothing is to end, and only said how many sessions match. Not left to a default:
    /// whoever asks says whether it is in earnest.
    dry_run: bool,
    /// All sessions: `true` if there is no filter, and only then.
    #[serde(default)]
    all: bool,
    /// Of this account: its id, or the address of its wallet.
    #[schema(format = "account", examples(json!(example::ADDRESS)))]
    account: Option<String>,
    /// Begun from this address, or from an address in this network.
    #[schema(format = "network", examples("203.0.113.0/24"))]
    ip: Option<String>,
    /// Carried by this.
    #[schema(value_type = Option<Transport>)]
    transport: Option<String>,
    /// Begun longer ago than this.
    #[schema(format = "duration-in-words", examples("30d"))]
    older_than: Option<String>,
    /// Begun within this time.
    #[schema(format = "duration-in-words", examples("12h"))]
    younger_than: Option<String>,
    /// Begun before this time.
    #[schema(format = "date-time", examples("2026-11-21T09:00:00Z"))]
    created_before: Option<String>,
}

/// End all sessions that match
///
/// Or say how many that would be. A database that goes away half-way is 503, which says how many
/// have ended; asking again ends the rest.
#[utoipa::path(
    post,
    path = "/admin/sessions/revoke",
    operation_id = "admin_revoke",
    tag = "admin",
    request_body(content = Request, example = json!({ "dry_run": true, "ip": "203.0.113.0/24" })),
    responses(
        (status = 200, description = "They are over, or would be.", body = Done),
        api_spec::Operators, api_spec::Words, api_spec::Body
    ),
    security(("operator" = []))
)]
pub(in crate::routes) async fn post(
    http: HttpRequest,
    state: web::Data<State>,
    request: Json<Request>,
) -> Result<HttpResponse, Problem> {
    let Json(Request {
        dry_run,
        all,
        account,
        ip,
        transport,
        older_than,
        younger_than,
        created_before,
    }) = request;
    let words = Words { account, ip, transport, older_than, younger_than, created_before };
    if all != words.are_none() {
        let detail =
            if all { "It does not go with a filter." } else { "Expected true, or a filter." };
        return Err(Problem::malformed("all", detail));
    }
    let sweep = Sweep::new(words.parse(state.network, state.now()?)?, dry_run);
    let (shared, client) = (Arc::clone(&state), Client::of(&http, &state.trusted_proxies));
    let done = state.tasks.finish(async move { run(&shared, &client, &words, sweep).await });
    Ok(HttpResponse::Ok().json(done.await??))
}

/// Goes through with it, also for a client that has hung up.
async fn run(
    state: &State,
    client: &Client,
    words: &Words,
    mut sweep: Sweep,
) -> Result<Done, Problem> {
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
    tracing::warn!(event = "admin_revoke_incomplete", %error, revoked = done.revoked, "revocation stopped before all matching sessions were revoked");
    Err(Problem::UnavailableUnless(
        format!(
            "The database did not answer. {} sessions are revoked; ask again for the rest.",
            done.revoked
        )
        .into(),
    ))
}

/// Whether there is more to do.
async fn step(state: &State, client: &Client, sweep: &mut Sweep) -> Result<bool, DatabaseError> {
    let ended = {
        let mut connection = state.database.acquire().await?;
        let watch = connection.watch();
        timed(watch, "sweep_sessions", sweep.step(&mut connection)).await
    };
    let ended = ended.inspect_err(|_| {
        if !sweep.done().dry_run {
            state.denylist.doubt();
        }
    });
    let Some(ended) = ended? else { return Ok(false) };
    follow_up(state, client, &ended).await;
    Ok(true)
}
