use std::io::IsTerminal as _;

use anyhow::Context as _;
use chrono::{DateTime, SecondsFormat, Utc};
use clap::Args;
use schema::browse::Filter;
use schema::sessions::database_now;

use super::sweep::{summary, sweep};
use crate::admin::filter;
use crate::commands::Misuse;
use crate::commands::output::OutputOption;
use crate::config::Options;
use crate::denylist;

pub(super) const EXAMPLE: &str = "Examples:
  auth-api admin revoke-since 2026-11-21T09:00:00Z --dry-run
  auth-api admin revoke-since 2026-11-21T09:00:00Z
  auth-api admin revoke-since 2026-11-21T09:00:00Z --restored --yes";

#[derive(Args, Debug)]
pub(in crate::commands) struct Request {
    /// Time at which the leak began (RFC 3339); with --restored, the time at which auth-api began
    /// to serve the restored database, or any earlier time after the backup
    time: String,
    /// End every session that began before TIME. Use this flag after the database has been restored
    /// from a backup, because sessions that were revoked after the backup are live again
    #[arg(long)]
    restored: bool,
    /// Print how many sessions would be ended, without ending any
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
    /// Skip the confirmation; if standard input is not a terminal, the command always skips it
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    output: OutputOption,
    #[command(flatten)]
    options: Box<Options>,
}

pub(super) async fn run(request: &Request) -> anyhow::Result<()> {
    let config = request.options.check_accounts()?;
    let time = filter::time(&request.time);
    let time = time.ok_or_else(|| {
        Misuse(format!("{}: expected a time such as 2026-11-21T09:00:00Z", request.time))
    })?;
    let mut connection = config.database.open().await?;
    if time > database_now(&mut connection).await? {
        return Err(
            Misuse(format!("{time} is in the future according to the database's clock")).into()
        );
    }
    let (filter, description) =
        if request.restored { restored_sessions(time) } else { exposed_sessions(time)? };
    if !request.dry_run && !request.yes && std::io::stdin().is_terminal() {
        let counted = sweep(&mut connection, &config, filter.clone(), true, &description).await?;
        eprint!("{}: {description}. End them? [y/N] ", summary(counted));
        let mut answer = String::new();
        std::io::stdin().read_line(&mut answer)?;
        if !matches!(answer.trim(), "y" | "Y" | "yes") {
            anyhow::bail!("nothing was revoked");
        }
    }
    let done = sweep(&mut connection, &config, filter, request.dry_run, &description).await?;
    request.output.print(&done, || format!("{}: {description}", summary(done)))
}

/// Selects the sessions that have begun or been used since `time`: their credentials have been sent
/// since then, so they may have leaked.
///
/// The filter also selects sessions that began or were used in the half hour before `time`. An
/// access token that was issued in that half hour may have been used after `time`, and the use of a
/// cookie is recorded only once a minute.
fn exposed_sessions(time: DateTime<Utc>) -> anyhow::Result<(Filter, String)> {
    let since = chrono::Duration::from_std(denylist::LONGEST_WINDOW)
        .ok()
        .and_then(|margin| time.checked_sub_signed(margin))
        .context("the time is too far in the past")?;
    let filter = Filter { active_since: Some(since), ..Filter::default() };
    Ok((filter, format!("active_since={}", rfc3339(since))))
}

/// Selects the sessions that began before `time`, the time at which the restored database went into
/// service. In this database, sessions that ended after the backup are live again, and refresh
/// tokens that were used up after the backup are current again, so anyone who kept such a token can
/// use it. Later sessions are not affected.
fn restored_sessions(time: DateTime<Utc>) -> (Filter, String) {
    let filter = Filter { created_before: Some(time), ..Filter::default() };
    (filter, format!("created_before={}", rfc3339(time)))
}

fn rfc3339(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}
