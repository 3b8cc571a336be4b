use anyhow::Context as _;
use clap::Args;
use diesel_async::{AsyncConnection as _, AsyncPgConnection};
use schema::accounts::Account;
use schema::ids::SessionId;
use schema::sessions::{RevokedReason, Session};
use serde_json::json;
use uuid::Uuid;

use crate::admin::filter::which;
use crate::admin::sweep::Done;
use crate::audit::{self, Operator, RevokedBy};
use crate::commands::accounts::{NONE, NotAnAccount};
use crate::commands::output::OutputOption;
use crate::config::{Network, Options};
use crate::denylist::Denylist;

pub(super) const EXAMPLE: &str = "Examples:
  auth-api admin revoke 0197f0a2-7c3e-7d10-9c55-0d0c6d8d3a7e
  auth-api admin revoke --account GBXFXNDLV4LSWA4VB7YIL5GBD7BVNR22SGBTDKMO2SBZZHDXSKZYCP7L";

#[derive(Args, Debug)]
pub(in crate::commands) struct Request {
    /// The session's id
    #[arg(
        value_name = "SESSION_ID",
        required_unless_present = "account",
        conflicts_with = "account"
    )]
    session: Option<Uuid>,
    /// All sessions of this account: a wallet's address (`G…`), or the account's id
    #[arg(long)]
    account: Option<String>,
    #[command(flatten)]
    output: OutputOption,
    #[command(flatten)]
    options: Box<Options>,
}

/// Said where the denials were not written: nothing is lost, and nothing has to be done.
pub(super) const NOT_DENIED: &str = "what was revoked is revoked, but Redis was not told: access tokens are good for at most \
                                     another DENYLIST_SYNC_INTERVAL";

pub(super) async fn run(request: &Request) -> anyhow::Result<()> {
    let config = request.options.check_accounts()?;
    let mut connection = config.database.open().await?;
    let (ended, of) = match (request.session, &request.account) {
        (Some(id), _) => {
            let ended =
                Session::revoke_many(&mut connection, vec![SessionId(id)], RevokedReason::Admin)
                    .await?;
            (ended, format!("session={id}"))
        }
        (None, account) => {
            of_account(&mut connection, account.as_deref().unwrap_or_default(), config.network)
                .await?
        }
    };
    let done = Done::all(ended.len());
    for id in &ended {
        audit::revoke(None, *id, &RevokedBy::Operator, RevokedReason::Admin);
    }
    audit::admin_revoke(Operator::Shell, &of, done);
    Denylist::for_commands(&config.redis).try_deny(&ended).await.context(NOT_DENIED)?;
    if request.session.is_some() && ended.is_empty() {
        anyhow::bail!("there is no such session, or it has ended");
    }
    request
        .output
        .print(&json!({ "revoked": done.revoked }), || format!("revoked {} sessions", done.revoked))
}

/// Under the account's lock, so that a login is before all of it or after.
async fn of_account(
    connection: &mut AsyncPgConnection,
    account: &str,
    network: Network,
) -> anyhow::Result<(Vec<SessionId>, String)> {
    let which = which(account, network).ok_or_else(|| NotAnAccount(account.to_owned()))?;
    let transaction = connection.transaction(async |connection| {
        let account = Account::find(connection, &which).await?.context(NONE)?;
        let ended = Session::revoke_all(connection, account.id, None, RevokedReason::Admin).await?;
        Ok::<_, anyhow::Error>((ended, format!("account={}", account.id)))
    });
    transaction.await
}
