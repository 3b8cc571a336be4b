//! The operators' commands. They connect to PostgreSQL and Redis directly, so they also work while
//! the API is not running.

mod revoke;
mod sessions;
mod since;
mod sweep;

use clap::Subcommand;
use secrecy::ExposeSecret as _;

use super::say;
use crate::credentials::random_word;

#[derive(Subcommand, Debug)]
pub(super) enum Command {
    /// List the live sessions of all accounts, newest first or by activity
    #[command(after_help = sessions::EXAMPLE)]
    Sessions(sessions::Request),
    /// End one session, or all sessions of an account
    #[command(after_help = revoke::EXAMPLE)]
    Revoke(revoke::Request),
    /// End all sessions that match the filters
    #[command(after_help = sweep::EXAMPLE)]
    RevokeMatching(sweep::Request),
    /// End the sessions that have begun or been used since a leak, or all sessions that a restored
    /// backup contains
    #[command(after_help = since::EXAMPLE)]
    RevokeSince(since::Request),
    /// Generate a token for `ADMIN_TOKEN_FILE` and print it
    #[command(
        after_help = "Example:\n  (umask 077; auth-api admin token > /run/secrets/admin-token)"
    )]
    Token,
}

pub(super) async fn run(command: &Command) -> anyhow::Result<()> {
    match command {
        Command::Sessions(request) => sessions::run(request).await,
        Command::Revoke(request) => revoke::run(request).await,
        Command::RevokeMatching(request) => sweep::run(request).await,
        Command::RevokeSince(request) => since::run(request).await,
        Command::Token => {
            say(random_word()?.expose_secret());
            Ok(())
        }
    }
}
