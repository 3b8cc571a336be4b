use anyhow::Context as _;
use clap::{Args, Subcommand};
use diesel_async::{AsyncConnection as _, AsyncPgConnection};
use schema::accounts::{Account, AccountSelector};
use schema::ids::SessionId;
use schema::sessions::{RevokedReason, Session};

use super::say;
use crate::admin::filter::which;
use crate::audit::{self, RevokedBy};
use crate::config::{AccountsConfig, Options};
use crate::denylist::{self, Denylist};

#[derive(Subcommand, Debug)]
pub(super) enum Command {
    /// End an account's sessions at once and refuse its logins
    #[command(
        after_help = "Example:\n  auth-api accounts disable GBXFXNDLV4LSWA4VB7YIL5GBD7BVNR22SGBTDKMO2SBZZHDXSKZYCP7L"
    )]
    Disable(Request),
    /// Let a disabled account log in again; its sessions stay over
    #[command(
        after_help = "Example:\n  auth-api accounts enable GBXFXNDLV4LSWA4VB7YIL5GBD7BVNR22SGBTDKMO2SBZZHDXSKZYCP7L"
    )]
    Enable(Request),
    /// End an account's sessions at once and delete it with all that is known of it; its wallet may
    /// log in anew
    #[command(
        after_help = "Example:\n  auth-api accounts delete 0197f0a2-7c3e-7d10-9c55-0d0c6d8d3a7e"
    )]
    Delete(Request),
}

#[derive(Args, Debug)]
pub(super) struct Request {
    /// The wallet's address (`G…`), or the account's id
    #[arg(value_name = "ACCOUNT")]
    account: String,
    #[command(flatten)]
    options: Box<Options>,
}

/// Neither an address nor an id.
#[derive(Debug, thiserror::Error)]
#[error("{0} is neither a wallet's address (G…) nor an account's id")]
pub(super) struct NotAnAccount(pub(super) String);

pub(super) async fn run(command: &Command) -> anyhow::Result<()> {
    let (Command::Disable(request) | Command::Enable(request) | Command::Delete(request)) = command;
    let config = request.options.check_accounts()?;
    let named = || NotAnAccount(request.account.clone());
    let which = which(&request.account, config.network).ok_or_else(named)?;
    let mut connection = config.database.open().await?;
    match command {
        Command::Disable(_) => {
            let ended = disable(&mut connection, &config, &which).await?;
            say(format_args!("disabled {ended}"));
        }
        Command::Enable(_) => {
            let account = connection.transaction(async |connection| {
                let account = Account::find(connection, &which).await?.context(NONE)?;
                Account::enable(connection, account.id).await?;
                Ok::<_, anyhow::Error>(account)
            });
            let account = account.await?;
            audit::account("account_enabled", account.id, &account.subject, 0);
            say(format_args!("enabled {} ({})", account.subject, account.id));
        }
        Command::Delete(_) => {
            // In this order: what Redis denies outlives the rows, and cannot be made up for once
            // they are gone.
            let ended = disable(&mut connection, &config, &which).await?;
            let deleted = Account::delete(&mut connection, ended.account.id).await;
            deleted.context(
                "the account is disabled and its sessions are over, but it was not deleted",
            )?;
            audit::account(
                "account_deleted",
                ended.account.id,
                &ended.account.subject,
                ended.sessions,
            );
            say(format_args!("deleted {ended}"));
        }
    }
    Ok(())
}

pub(super) const NONE: &str = "there is no such account: it has never logged in, or was deleted";

/// An account whose sessions are over.
struct Ended {
    account: Account,
    sessions: usize,
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { account, sessions } = self;
        write!(f, "{} ({}): {sessions} live sessions ended", account.subject, account.id)
    }
}

async fn disable(
    connection: &mut AsyncPgConnection,
    config: &AccountsConfig,
    which: &AccountSelector,
) -> anyhow::Result<Ended> {
    let transaction = connection.transaction(async |connection| {
        let account = Account::find(connection, which).await?.context(NONE)?;
        Account::disable(connection, account.id).await?;
        let ended =
            Session::revoke_all(connection, account.id, None, RevokedReason::Disabled).await?;
        Ok::<_, anyhow::Error>((account, ended))
    });
    let (account, ended) = transaction.await?;
    audit::account("account_disabled", account.id, &account.subject, ended.len());
    for id in &ended {
        audit::revoke(None, *id, &RevokedBy::Rule, RevokedReason::Disabled);
    }
    // Also those that ended before: that a denial was not written may be why this is asked for
    // again.
    let denied = Session::revoked_of(connection, account.id, denylist::LONGEST_WINDOW).await?;
    deny(config, &denied).await.context(
        "the account is disabled and its sessions are revoked, but Redis was not told: access tokens are good for at most \
         another DENYLIST_SYNC_INTERVAL. Run this again",
    )?;
    Ok(Ended { account, sessions: ended.len() })
}

async fn deny(config: &AccountsConfig, ids: &[SessionId]) -> anyhow::Result<()> {
    Ok(Denylist::for_commands(&config.redis).try_deny(ids).await?)
}
