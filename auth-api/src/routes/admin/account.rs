//! DELETE /admin/accounts/{account}/sessions: ends all sessions of an account. The account can log
//! in again.

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, web};
use diesel_async::AsyncConnection as _;
use schema::accounts::{Account, AccountSelector};
use schema::sessions::{RevokedReason, Session};

use super::super::sessions::Revoked;
use super::record_ended;
use crate::admin::filter::account_selector;
use crate::admin::sweep::Done;
use crate::audit::{self, Operator};
use crate::database::{DatabaseError, timed};
use crate::http::api_spec::example;
use crate::http::{Client, Problem, api_spec};
use crate::state::State;

/// End all sessions of an account
///
/// Ends all live sessions of the account. The account can log in again.
#[utoipa::path(
    delete,
    path = "/admin/accounts/{account}/sessions",
    operation_id = "admin_end_account_sessions",
    tag = "admin",
    params((
        "account" = String, Path, description = "The account's id or its wallet's address.",
        example = json!(example::ADDRESS)
    )),
    responses(
        (status = 200, description = "The sessions have ended.", body = Revoked),
        api_spec::Operators, api_spec::Named
    ),
    security(("operator" = []))
)]
pub(in crate::routes) async fn delete(
    http: HttpRequest,
    state: web::Data<State>,
    account: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let selector = account_selector(&account, state.network).ok_or(Problem::NotFound)?;
    let (shared, client) = (Arc::clone(&state), Client::of(&http, &state.trusted_proxies));
    let ended = state.tasks.finish(async move { end_all(&shared, &client, &selector).await });
    let revoked = ended.await??.ok_or(Problem::NotFound)?;
    Ok(HttpResponse::Ok().json(Revoked { revoked }))
}

/// Ends the sessions while it holds a lock on the account's row, so that a concurrent login commits
/// either before or after the revocation. Returns `None` if the account does not exist.
async fn end_all(
    state: &State,
    client: &Client,
    selector: &AccountSelector,
) -> Result<Option<usize>, DatabaseError> {
    let ended = {
        let mut connection = state.database.acquire().await?;
        let watch = connection.watch();
        let transaction = connection.transaction(async |connection| {
            let Some(account) = Account::find(connection, selector).await? else { return Ok(None) };
            let ended =
                Session::revoke_all(connection, account.id, None, RevokedReason::Admin).await?;
            Ok::<_, diesel::result::Error>(Some((account.id, ended)))
        });
        timed(watch, "revoke_all_sessions", transaction).await
    };
    let Some((account_id, ended)) = ended.inspect_err(|_| state.denylist.doubt())? else {
        return Ok(None);
    };
    record_ended(state, client, &ended).await;
    audit::admin_revoke(
        Operator::Http(client),
        &format_args!("account={account_id}"),
        Done::all(ended.len()),
    );
    Ok(Some(ended.len()))
}
