//! POST /admin/sessions/revoke: ends or counts all sessions that match a filter.

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use utoipa::ToSchema;

use super::record_ended;
use crate::admin::filter::FilterArgs;
use crate::admin::sweep::{Done, Sweep};
use crate::audit::{self, Operator};
use crate::database::{DatabaseError, timed};
use crate::domain::Transport;
use crate::http::api_spec::example;
use crate::http::{Client, Json, Problem, api_spec};
use crate::state::State;

/// The sessions to end. A session must match all filters.
#[derive(Deserialize, ToSchema)]
#[schema(as = AdminRevokeRequest)]
#[serde(deny_unknown_fields)]
pub(in crate::routes) struct Request {
    /// Whether to count the matching sessions instead of ending them. This field is required, so
    /// that no request ends sessions by default.
    dry_run: bool,
    /// Whether to select all sessions. Must be `true` if the request has no filter, and `false` or
    /// absent if the request has a filter.
    #[serde(default)]
    all: bool,
    /// Only sessions of this account, given as the account's id or its wallet's address.
    #[schema(format = "account", examples(json!(example::ADDRESS)))]
    account: Option<String>,
    /// Only sessions whose login came from this address, or from an address in this network.
    #[schema(format = "network", examples("203.0.113.0/24"))]
    ip: Option<String>,
    /// Only sessions with this transport.
    #[schema(value_type = Option<Transport>)]
    transport: Option<String>,
    /// Only sessions that began longer ago than this.
    #[schema(format = "duration-in-words", examples("30d"))]
    older_than: Option<String>,
    /// Only sessions that began within this time.
    #[schema(format = "duration-in-words", examples("12h"))]
    younger_than: Option<String>,
    /// Only sessions that began before this time.
    #[schema(format = "date-time", examples("2026-11-21T09:00:00Z"))]
    created_before: Option<String>,
}

/// End all sessions that match the filters
///
/// Ends the sessions that match all filters or, with `dry_run`, counts them. If the database
/// becomes unavailable during the request, the response is 503 and its `detail` contains the number
/// of sessions that were ended. Repeat the request to end the rest.
#[utoipa::path(
    post,
    path = "/admin/sessions/revoke",
    operation_id = "admin_revoke",
    tag = "admin",
    request_body(content = Request, example = json!({ "dry_run": true, "ip": "203.0.113.0/24" })),
    responses(
        (status = 200, description = "The number of sessions that matched and the number that were ended.", body = Done),
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
    let filters = FilterArgs { account, ip, transport, older_than, younger_than, created_before };
    if all != filters.is_empty() {
        let detail = if all {
            "This field cannot be combined with a filter."
        } else {
            "Expected true, or a filter."
        };
        return Err(Problem::malformed("all", detail));
    }
    let sweep = Sweep::new(filters.parse(state.network, state.now()?)?, dry_run);
    let (shared, client) = (Arc::clone(&state), Client::of(&http, &state.trusted_proxies));
    let done = state.tasks.finish(async move { run(&shared, &client, &filters, sweep).await });
    Ok(HttpResponse::Ok().json(done.await??))
}

/// Runs the sweep to completion, even if the client disconnects.
async fn run(
    state: &State,
    client: &Client,
    filters: &FilterArgs,
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
    audit::admin_revoke(Operator::Http(client), filters, done);
    let Some(error) = stopped else { return Ok(done) };
    if !error.is_transient() {
        return Err(error.into());
    }
    tracing::warn!(event = "admin_revoke_incomplete", %error, revoked = done.revoked, "revocation stopped before all matching sessions were revoked");
    Err(Problem::UnavailableUnless(
        format!(
            "The database is unavailable. {} sessions are revoked. Repeat the request to revoke the rest.",
            done.revoked
        )
        .into(),
    ))
}

/// Runs one step of the sweep. Returns whether there is more to do.
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
    record_ended(state, client, &ended).await;
    Ok(true)
}
