//! GET /admin/sessions: the live sessions of all accounts.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::admin::filter::Words;
use crate::admin::listing::{ListQuery, Listed, Listing};
use crate::audit::{self, Operator};
use crate::http::caller::Transport;
use crate::http::{Client, Problem, Query, api_spec};
use crate::state::{DatabaseError, State, timed};

/// Somebody waits for it, and the database has other things to do: a table of some millions of
/// sessions is read in it.
const BOUND: Duration = Duration::from_secs(3);

/// Which sessions are wanted. All filters that are given must hold.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(in crate::routes) struct List {
    /// `newest` first; or by `activity`, those that were used last: 200 at the most, and no pages.
    #[param(pattern = "^(newest|activity)$", example = "newest")]
    order: Option<String>,
    /// So many at the most, by activity up to 200.
    #[param(value_type = Option<u16>, minimum = 1, maximum = 1000, default = 200)]
    limit: Option<String>,
    /// The `next` of the page before. Not by activity.
    #[param(value_type = Option<Uuid>)]
    after: Option<String>,
    /// Of this account: its id, or the address of its wallet.
    #[param(format = "account")]
    account: Option<String>,
    /// Begun from this address, or from an address in this network.
    #[param(format = "network", example = "203.0.113.0/24")]
    ip: Option<String>,
    /// Carried by this.
    #[param(value_type = Option<Transport>, inline)]
    transport: Option<String>,
    /// Begun longer ago than this.
    #[param(format = "duration-in-words", example = "30d")]
    older_than: Option<String>,
    /// Begun within this time.
    #[param(format = "duration-in-words", example = "12h")]
    younger_than: Option<String>,
    /// Begun before this time.
    #[param(format = "date-time", example = "2026-11-21T09:00:00Z")]
    created_before: Option<String>,
}

/// The live sessions of all accounts
///
/// Not over, not expired, of an account that is not disabled. A list that takes longer than 3
/// seconds is 503: ask for less.
#[utoipa::path(
    get,
    path = "/admin/sessions",
    operation_id = "admin_list_sessions",
    tag = "admin",
    params(List),
    responses(
        (status = 200, description = "A page of them.", body = Listed),
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
    let words = Words { account, ip, transport, older_than, younger_than, created_before };
    let listing = ListQuery { order, limit, after }.parse(&words, state.network, state.now()?)?;
    let (shared, client) = (Arc::clone(&state), Client::of(&http, &state.trusted_proxies));
    let listed = state.tasks.finish(async move {
        let listed = read(&shared, &listing).await?;
        audit::admin_list(Operator::Http(&client), listing.order(), &words, listed.sessions.len());
        Ok::<_, Problem>(listed)
    });
    Ok(HttpResponse::Ok().json(listed.await??))
}

async fn read(state: &State, listing: &Listing) -> Result<Listed, Problem> {
    let mut connection = state.database.acquire().await?;
    let (watch, asked) = (connection.watch(), Instant::now());
    timed(watch, listing.query(), listing.read(&mut connection, BOUND)).await.map_err(|error| {
        let error = DatabaseError::from(error);
        // What the server says of it is in the language of its messages.
        if error.is_transient() && asked.elapsed() >= BOUND {
            tracing::warn!(event = "admin_list_timeout", %error, order = listing.order(), "session list timed out");
            return Problem::UnavailableUnless(
                "The list took longer than 3 s. Ask for less: by account, ip, transport or age.".into(),
            );
        }
        error.into()
    })
}
