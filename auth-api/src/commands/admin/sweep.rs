use anyhow::Context as _;
use clap::Args;
use diesel_async::AsyncPgConnection;
use schema::browse::Filter;
use schema::sessions::{RevokedReason, database_now};

use super::revoke::NOT_DENIED;
use crate::admin::filter::FilterArgs;
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
    /// Select all sessions instead of using a filter
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    mode: Mode,
    #[command(flatten)]
    output: OutputOption,
    #[command(flatten)]
    filters: FilterArgs,
    #[command(flatten)]
    options: Box<Options>,
}

/// Whether to count the sessions or to end them. One of the flags is required, so that the command
/// never ends sessions by default.
#[derive(Args, Clone, Copy, Debug)]
#[group(required = true, multiple = false)]
struct Mode {
    /// Print how many sessions would be ended, without ending any
    #[arg(long)]
    dry_run: bool,
    /// End the sessions
    #[arg(long)]
    yes: bool,
}

pub(super) async fn run(request: &Request) -> anyhow::Result<()> {
    let config = request.options.check_accounts()?;
    if request.all != request.filters.is_empty() {
        return Err(Misuse("pass either a filter or --all".to_owned()).into());
    }
    let mut connection = config.database.open().await?;
    let now = database_now(&mut connection).await?;
    let filter = request.filters.parse(config.network, now)?;
    let (dry_run, filters) = (!request.mode.yes, request.filters.to_string());
    let done = sweep(&mut connection, &config, filter, dry_run, &filters).await?;
    request.output.print(&done, || summary(done))
}

/// Returns a human-readable summary of the result.
pub(super) fn summary(Done { matched, revoked, dry_run }: Done) -> String {
    if dry_run {
        format!("would revoke {matched} sessions")
    } else {
        format!("revoked {revoked} sessions")
    }
}

/// Ends the sessions that match `filter` or, if `dry_run` is `true`, counts them. If the denylist
/// in Redis cannot be written, this is reported only at the end, because the revocation in
/// PostgreSQL takes precedence. `filters` is the text of the filter for the audit log.
pub(super) async fn sweep(
    connection: &mut AsyncPgConnection,
    config: &AccountsConfig,
    filter: Filter,
    dry_run: bool,
    filters: &str,
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
    audit::admin_revoke(Operator::Shell, &filters, done);
    swept.with_context(|| {
        format!(
            "{} sessions were revoked before the error; run the command again to revoke the rest",
            done.revoked
        )
    })?;
    denied.with_context(|| format!("{} sessions: {NOT_DENIED}", done.revoked))?;
    Ok(done)
}
