use anyhow::Context as _;
use clap::Args;
use diesel_async::{AsyncConnection as _, AsyncPgConnection};
use schema::accounts::Account;
use schema::ids::SessionId;
use schema::sessions::{RevokedReason, Session};
use serde_json::json;
use uuid::Uuid;

use crate::admin::filter::account_selector;
use crate::admin::sweep::Done;
use crate::audit::{self, Operator, RevokedBy};
use crate::commands::accounts::{NOT_FOUND, NotAnAccount};
use crate::commands::output::OutputOption;
use crate::config::Options;
use crate::denylist::Denylist;
use crate::domain::Network;

pub(super) const EXAMPLE: &str = "Examples:
  auth-api admin revoke 0197f0a2-7c3e-7d10-9c55-0d0c6d8d3a7e
  auth-api admin revoke --account GBXFXNDLV4LSWA4VB7YIL5GBD7BVNR22SGBTDKMO2SBZZHDXSKZYCP7L";

#[derive(Args, Debug)]
pub(in crate::commands) struct Request {
    /// End the session with this id
    #[arg(
        value_name = "SESSION_ID",
        required_unless_present = "account",
        conflicts_with = "account"
    )]
    session: Option<Uuid>,
    /// End all sessions of this account, given as the wallet's address (`G…`) or the account's id
    #[arg(long)]
    account: Option<String>,
    #[command(flatten)]
    output: OutputOption,
    #[command(flatten)]
    options: Box<Options>,
}

/// The error message if the sessions could not be added to the denylist in Redis. The revocation is
/// committed, and the next rebuild of the denylist adds them, so no action is required.
pub(super) const NOT_DENIED: &str = "what was revoked is revoked, but Redis was not told: access tokens of these sessions remain \
                                     valid for up to another DENYLIST_SYNC_INTERVAL";

pub(super) async fn run(request: &Request) -> anyhow::Result<()> {
    let config = request.options.check_accounts()?;
    let mut connection = config.database.open().await?;
    let (ended, filters) = match (request.session, &request.account) {
        (Some(id), _) => {
            let ended =
                Session::revoke_many(&mut connection, vec![SessionId(id)], RevokedReason::Admin)
                    .await?;
            (ended, format!("session={id}"))
        }
        (None, account) => {
            revoke_account(&mut connection, account.as_deref().unwrap_or_default(), config.network)
                .await?
        }
    };
    let done = Done::all(ended.len());
    for id in &ended {
        audit::revoke(None, *id, &RevokedBy::Operator, RevokedReason::Admin);
    }
    audit::admin_revoke(Operator::Shell, &filters, done);
    Denylist::for_commands(&config.redis).try_deny(&ended).await.context(NOT_DENIED)?;
    if request.session.is_some() && ended.is_empty() {
        anyhow::bail!("there is no such session, or it has already ended");
    }
    request
        .output
        .print(&json!({ "revoked": done.revoked }), || format!("revoked {} sessions", done.revoked))
}

/// Ends all sessions of an account while it holds a lock on the account's row, so that a concurrent
/// login commits either before or after the revocation. Returns the sessions that were ended, and
/// the text of the filter for the audit log.
async fn revoke_account(
    connection: &mut AsyncPgConnection,
    account: &str,
    network: Network,
) -> anyhow::Result<(Vec<SessionId>, String)> {
    let selector =
        account_selector(account, network).ok_or_else(|| NotAnAccount(account.to_owned()))?;
    let transaction = connection.transaction(async |connection| {
        let account = Account::find(connection, &selector).await?.context(NOT_FOUND)?;
        let ended = Session::revoke_all(connection, account.id, None, RevokedReason::Admin).await?;
        Ok::<_, anyhow::Error>((ended, format!("account={}", account.id)))
    });
    transaction.await
}
