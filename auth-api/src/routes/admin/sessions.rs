//! GET /admin/sessions: the live sessions of all accounts.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;

use crate::admin::filter::Words;
use crate::admin::listing::{Asked, Listed, Listing};
use crate::audit::{self, Operator};
use crate::http::{Client, Problem, Query};
use crate::state::{DatabaseError, State, timed};

/// Somebody waits for it, and the database has other things to do: a table of some millions of sessions is read in it.
const BOUND: Duration = Duration::from_secs(3);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct List {
    order: Option<String>,
    limit: Option<String>,
    after: Option<String>,
    account: Option<String>,
    ip: Option<String>,
    transport: Option<String>,
    older_than: Option<String>,
    younger_than: Option<String>,
    created_before: Option<String>,
}

pub(super) async fn get(
    http: HttpRequest,
    state: web::Data<State>,
    query: Query<List>,
) -> Result<HttpResponse, Problem> {
    let Query(List { order, limit, after, account, ip, transport, older_than, younger_than, created_before }) = query;
    let words = Words { account, ip, transport, older_than, younger_than, created_before };
    let listing = Asked { order, limit, after }.parse(&words, state.network, state.now()?)?;
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
            tracing::warn!(%error, order = listing.order(), "a list took too long");
            return Problem::UnavailableUnless(
                "The list took longer than 3 s. Ask for less: by account, ip, transport or age.".into(),
            );
        }
        error.into()
    })
}
