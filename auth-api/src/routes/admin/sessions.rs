//! GET /admin/sessions: lists the live sessions of all accounts.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::admin::filter::FilterArgs;
use crate::admin::listing::{ListQuery, Listed, Listing};
use crate::audit::{self, Operator};
use crate::database::{DatabaseError, timed};
use crate::domain::Transport;
use crate::http::{Client, Problem, Query, api_spec};
use crate::state::State;

/// The time limit of the query. The limit keeps the request short and the load on the database low.
/// It is long enough to read a table of a few million sessions.
const TIMEOUT: Duration = Duration::from_secs(3);

/// The query parameters of the list. A session must match all filters.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(in crate::routes) struct List {
    /// The order of the list. `newest` lists the newest sessions first. `activity` lists the most
    /// recently used sessions first, at most 200, and has no further pages.
    #[param(pattern = "^(newest|activity)$", example = "newest")]
    order: Option<String>,
    /// The maximum number of sessions to return. With `order=activity`, it must be at most 200.
    #[param(value_type = Option<u16>, minimum = 1, maximum = 1000, default = 200)]
    limit: Option<String>,
    /// The `next` of the previous page. Not allowed with `order=activity`.
    #[param(value_type = Option<Uuid>)]
    after: Option<String>,
    /// Only sessions of this account, given as the account's id or its wallet's address.
    #[param(format = "account")]
    account: Option<String>,
    /// Only sessions whose login came from this address, or from an address in this network.
    #[param(format = "network", example = "203.0.113.0/24")]
    ip: Option<String>,
    /// Only sessions with this transport.
    #[param(value_type = Option<Transport>, inline)]
    transport: Option<String>,
    /// Only sessions that began longer ago than this.
    #[param(format = "duration-in-words", example = "30d")]
    older_than: Option<String>,
    /// Only sessions that began within this time.
    #[param(format = "duration-in-words", example = "12h")]
    younger_than: Option<String>,
    /// Only sessions that began before this time.
    #[param(format = "date-time", example = "2026-11-21T09:00:00Z")]
    created_before: Option<String>,
}

/// List the sessions of all accounts
///
/// Returns live sessions. A session is live if it is neither revoked nor expired, and if its
/// account is not disabled. If the list takes longer than 3 seconds, the response is 503. In this
/// case, use a narrower filter or a smaller limit.
#[utoipa::path(
    get,
    path = "/admin/sessions",
    operation_id = "admin_list_sessions",
    tag = "admin",
    params(List),
    responses(
        (status = 200, description = "A page of sessions.", body = Listed),
        api_spec::Operators, api_spec::Words
    ),
    security(("operator" = []))
)]
pub(in crate::routes) async fn get(
    http: HttpRequest,
    state: web::Data<State>,
    query: Query<List>,
) -> Result<HttpResponse, Problem> {
    let Query(List {
        order,
        limit,
        after,
        account,
        ip,
        transport,
        older_than,
        younger_than,
        created_before,
    }) = query;
    let filters = FilterArgs { account, ip, transport, older_than, younger_than, created_before };
    let listing = ListQuery { order, limit, after }.parse(&filters, state.network, state.now()?)?;
    let (shared, client) = (Arc::clone(&state), Client::of(&http, &state.trusted_proxies));
    let listed = state.tasks.finish(async move {
        let listed = read(&shared, &listing).await?;
        audit::admin_list(
            Operator::Http(&client),
            listing.order(),
            &filters,
            listed.sessions.len(),
        );
        Ok::<_, Problem>(listed)
    });
    Ok(HttpResponse::Ok().json(listed.await??))
}

async fn read(state: &State, listing: &Listing) -> Result<Listed, Problem> {
    let mut connection = state.database.acquire().await?;
    let (watch, started) = (connection.watch(), Instant::now());
    timed(watch, listing.query(), listing.read(&mut connection, TIMEOUT)).await.map_err(|error| {
        let error = DatabaseError::from(error);
        // The elapsed time identifies a timeout, because the server's message may be in any
        // language.
        if error.is_transient() && started.elapsed() >= TIMEOUT {
            tracing::warn!(event = "admin_list_timeout", %error, order = listing.order(), "session list timed out");
            return Problem::UnavailableUnless(
                "The list took longer than 3 s. Ask for less: use a smaller limit, or filter by account, ip, transport or age.".into(),
            );
        }
        error.into()
    })
}
