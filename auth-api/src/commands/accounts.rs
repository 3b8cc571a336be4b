use anyhow::Context as _;
use clap::{Args, Subcommand};
use diesel_async::{AsyncConnection as _, AsyncPgConnection};
use schema::accounts::{Account, AccountSelector};
use schema::ids::SessionId;
use schema::sessions::{RevokedReason, Session};

use super::say;
use crate::admin::filter::account_selector;
use crate::audit::{self, RevokedBy};
use crate::config::{AccountsConfig, Options};
use crate::denylist::{self, Denylist};

#[derive(Subcommand, Debug)]
pub(super) enum Command {
    /// End an account's sessions immediately and reject its logins
    #[command(
        after_help = "Example:\n  auth-api accounts disable GBXFXNDLV4LSWA4VB7YIL5GBD7BVNR22SGBTDKMO2SBZZHDXSKZYCP7L"
    )]
    Disable(Request),
    /// Allow a disabled account to log in again; its ended sessions are not restored
    #[command(
        after_help = "Example:\n  auth-api accounts enable GBXFXNDLV4LSWA4VB7YIL5GBD7BVNR22SGBTDKMO2SBZZHDXSKZYCP7L"
    )]
    Enable(Request),
    /// End an account's sessions immediately and delete the account with all of its data; if the
    /// wallet logs in again, a new account is created
    #[command(
        after_help = "Example:\n  auth-api accounts delete 0197f0a2-7c3e-7d10-9c55-0d0c6d8d3a7e"
    )]
    Delete(Request),
}

#[derive(Args, Debug)]
pub(super) struct Request {
    /// The account, given as the wallet's address (`G…`) or the account's id
    #[arg(value_name = "ACCOUNT")]
    account: String,
    #[command(flatten)]
    options: Box<Options>,
}

/// The argument is neither a wallet's address nor an account's id.
#[derive(Debug, thiserror::Error)]
#[error("{0} is neither a wallet's address (G…) nor an account's id")]
pub(super) struct NotAnAccount(pub(super) String);

pub(super) async fn run(command: &Command) -> anyhow::Result<()> {
    let (Command::Disable(request) | Command::Enable(request) | Command::Delete(request)) = command;
    let config = request.options.check_accounts()?;
    let invalid = || NotAnAccount(request.account.clone());
    let selector = account_selector(&request.account, config.network).ok_or_else(invalid)?;
    let mut connection = config.database.open().await?;
    match command {
        Command::Disable(_) => {
            let ended = disable(&mut connection, &config, &selector).await?;
            say(format_args!("disabled {ended}"));
        }
        Command::Enable(_) => {
            let account = connection.transaction(async |connection| {
                let account = Account::find(connection, &selector).await?.context(NOT_FOUND)?;
                Account::enable(connection, account.id).await?;
                Ok::<_, anyhow::Error>(account)
            });
            let account = account.await?;
            audit::account("account_enabled", account.id, &account.subject, 0);
            say(format_args!("enabled {} ({})", account.subject, account.id));
        }
        Command::Delete(_) => {
            // Write the denials before deleting the rows. Denials remain effective without the
            // rows, but a missing denial cannot be added after the rows have been deleted.
            let ended = disable(&mut connection, &config, &selector).await?;
            let deleted = Account::delete(&mut connection, ended.account.id).await;
            deleted.context(
                "the account is disabled and its sessions are ended, but it was not deleted",
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

pub(super) const NOT_FOUND: &str =
    "there is no such account: its wallet has never logged in, or the account was deleted";

/// An account whose sessions were ended.
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
    selector: &AccountSelector,
) -> anyhow::Result<Ended> {
    let transaction = connection.transaction(async |connection| {
        let account = Account::find(connection, selector).await?.context(NOT_FOUND)?;
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
    // Sessions that ended earlier are denied again, because an earlier run of this command may have
    // failed to write their denials.
    let denied = Session::revoked_of(connection, account.id, denylist::LONGEST_WINDOW).await?;
    deny(config, &denied).await.context(
        "the account is disabled and its sessions are revoked, but Redis was not told: access tokens of these sessions \
         remain valid for up to another DENYLIST_SYNC_INTERVAL. Run the command again",
    )?;
    Ok(Ended { account, sessions: ended.len() })
}

async fn deny(config: &AccountsConfig, ids: &[SessionId]) -> anyhow::Result<()> {
    Ok(Denylist::for_commands(&config.redis).try_deny(ids).await?)
}
