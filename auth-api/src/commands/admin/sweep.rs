use anyhow::Context as _;
use clap::Args;
use diesel_async::AsyncPgConnection;
use schema::browse::Filter;
use schema::sessions::{RevokedReason, database_now};

use super::revoke::NOT_DENIED;
use crate::admin::filter::Words;
use crate::admin::sweep::{Done, Sweep};
use crate::audit::{self, Operator, RevokedBy};
use crate::commands::Misuse;
use crate::commands::output::OutputOption;
use crate::config::{AccountsConfig, Options};
use crate::denylist::Denylist;
use crate::redis::RedisFailure;

pub(super) const EXAMPLE: &str = "Examples:
  auth-api admin revoke-matching --ip 203.0.113.0/24 --dry-run
  auth-api admin revoke-matching --ip 203.0.113.0/24 --yes
  auth-api admin revoke-matching --all --yes";

#[derive(Args, Debug)]
pub(in crate::commands) struct Request {
    /// Every session there is; instead of a filter
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    earnest: Earnest,
    #[command(flatten)]
    output: OutputOption,
    #[command(flatten)]
    words: Words,
    #[command(flatten)]
    options: Box<Options>,
}

/// Not left to a default: whoever asks says whether it is in earnest.
#[derive(Args, Clone, Copy, Debug)]
#[group(required = true, multiple = false)]
struct Earnest {
    /// Say how many sessions that would be, and end none
    #[arg(long)]
    dry_run: bool,
    /// End them
    #[arg(long)]
    yes: bool,
}

pub(super) async fn run(request: &Request) -> anyhow::Result<()> {
    let config = request.options.check_accounts()?;
    if request.all != request.words.are_none() {
        return Err(Misuse("either a filter or --all".to_owned()).into());
    }
    let mut connection = config.database.open().await?;
    let now = database_now(&mut connection).await?;
    let filter = request.words.parse(config.network, now)?;
    let done =
        sweep(&mut connection, &config, filter, !request.earnest.yes, &request.words.to_string())
            .await?;
    request.output.print(&done, || told(done))
}

/// What was done, for people.
pub(super) fn told(Done { matched, revoked, dry_run }: Done) -> String {
    if dry_run {
        format!("would revoke {matched} sessions")
    } else {
        format!("revoked {revoked} sessions")
    }
}

/// Ends what matches. Redis being away is told at the end: what counts is that they are revoked.
pub(super) async fn sweep(
    connection: &mut AsyncPgConnection,
    config: &AccountsConfig,
    filter: Filter,
    dry_run: bool,
    of: &str,
) -> anyhow::Result<Done> {
    let denylist = Denylist::for_commands(&config.redis);
    let mut sweep = Sweep::new(filter, dry_run);
    let mut denied: Result<(), RedisFailure> = Ok(());
    let swept = loop {
        match sweep.step(connection).await {
            Ok(Some(ended)) => {
                for id in &ended {
                    audit::revoke(None, *id, &RevokedBy::Operator, RevokedReason::Admin);
                }
                denied = denied.and(denylist.try_deny(&ended).await);
            }
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    let done = sweep.done();
    audit::admin_revoke(Operator::Shell, &of, done);
    swept.with_context(|| {
        format!("{} sessions were revoked before this; run it again for the rest", done.revoked)
    })?;
    denied.with_context(|| format!("{} sessions: {NOT_DENIED}", done.revoked))?;
    Ok(done)
}
