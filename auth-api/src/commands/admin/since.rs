use std::io::IsTerminal as _;

use anyhow::Context as _;
use chrono::{DateTime, SecondsFormat, Utc};
use clap::Args;
use schema::browse::Filter;
use schema::sessions::database_now;

use super::sweep::{sweep, told};
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
    /// When it began to leak; with --restored, when the restored database began to serve, or any
    /// time since the backup (RFC 3339)
    time: String,
    /// The database was restored from a backup: end every session that began before TIME. Which of
    /// them had been revoked since the backup, nobody knows
    #[arg(long)]
    restored: bool,
    /// Say how many sessions that would be, and end none
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
    /// End them without asking; where there is no terminal nobody is asked anyway
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
        return Err(Misuse(format!("{time} is still to come, by the database's clock")).into());
    }
    let (filter, of) = if request.restored { brought_back(time) } else { exposed(time)? };
    if !request.dry_run && !request.yes && std::io::stdin().is_terminal() {
        let would = sweep(&mut connection, &config, filter.clone(), true, &of).await?;
        eprint!("{}: {of}. End them? [y/N] ", told(would));
        let mut answer = String::new();
        std::io::stdin().read_line(&mut answer)?;
        if !matches!(answer.trim(), "y" | "Y" | "yes") {
            anyhow::bail!("nothing was revoked");
        }
    }
    let done = sweep(&mut connection, &config, filter, request.dry_run, &of).await?;
    request.output.print(&done, || format!("{}: {of}", told(done)))
}

/// What was begun or used since `time`: its tokens or its cookie have been on the way since then.
///
/// Half an hour before counts, too: an access token that was issued then may have been used after
/// `time`, and the use of a cookie is noted once a minute.
fn exposed(time: DateTime<Utc>) -> anyhow::Result<(Filter, String)> {
    let since = chrono::Duration::from_std(denylist::LONGEST_WINDOW)
        .ok()
        .and_then(|margin| time.checked_sub_signed(margin))
        .context("a time that long ago has no half an hour before it")?;
    let filter = Filter { active_since: Some(since), ..Filter::default() };
    Ok((filter, format!("active_since={}", rfc3339(since))))
}

/// What was begun before `time`. Sessions that had ended since are back, and so are refresh tokens
/// that had been used up since: they are current again, for whoever kept them. What has begun since
/// then began after the restoration.
fn brought_back(time: DateTime<Utc>) -> (Filter, String) {
    let filter = Filter { created_before: Some(time), ..Filter::default() };
    (filter, format!("created_before={}", rfc3339(time)))
}

fn rfc3339(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}
