//! What is reaped: by the file, or without one the tables of auth-api, with the retentions of the environment.

use std::time::Duration;

use super::values::{DurationRange, Mistakes, given};
use super::{HOUR, LONGEST_KEEP, MINUTE};
use crate::cli::Sweeping;
use crate::sweep::{Retention, Target, built_in, history};

/// In the working directory; without it the built-in targets.
const CONFIG: &str = "reaper.toml";

const DAY: Duration = Duration::from_hours(24);

/// The file's targets and our own history; without a file the built-in ones.
pub(super) fn targets(options: &Sweeping, mistakes: &mut Mistakes) -> Vec<Target> {
    let retention = retention(options, mistakes);
    let named = given(options.config.as_ref());
    let file = named.unwrap_or(CONFIG);
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if named.is_none() && error.kind() == std::io::ErrorKind::NotFound => return built_in(&retention),
        Err(error) => {
            mistakes.add("REAPER_CONFIG", file, format!("a file that can be read ({error})"));
            return Vec::new();
        }
    };
    for (name, keep) in [
        ("KEEP_EXPIRED", &options.keep_expired),
        ("KEEP_REVOKED", &options.keep_revoked),
        ("KEEP_CHALLENGES", &options.keep_challenges),
        ("KEEP_ACCOUNTS", &options.keep_accounts),
    ] {
        if given(keep.as_ref()).is_some() {
            mistakes.add_unquoted(
                name,
                format!("given, but {file} says what is kept: leave it out, and change `keep` there"),
            );
        }
    }
    let mut targets = super::targets::read(file, &text, mistakes);
    let own = history(&retention);
    if !targets.iter().any(|target| target.table.name == own.table.name) {
        targets.push(own);
    }
    targets
}

/// For how long auth-api still needs rows is for these bounds to know.
fn retention(options: &Sweeping, mistakes: &mut Mistakes) -> Retention {
    let range = |least, because| DurationRange { least, most: LONGEST_KEEP, because };
    let expired =
        range(HOUR, "the denylist is rebuilt from sessions that were revoked lately, expired ones among them");
    let revoked = range(HOUR, "the denylist is rebuilt from sessions that were revoked lately");
    let challenges = range(10 * MINUTE, "a challenge whose use is forgotten could be used again");
    let accounts = range(HOUR, "a login may be under way");
    let runs = range(Duration::ZERO, "it is the reaper's own history");
    Retention {
        expired: mistakes.duration("KEEP_EXPIRED", options.keep_expired.as_ref(), DAY, &expired),
        revoked: mistakes.duration("KEEP_REVOKED", options.keep_revoked.as_ref(), 7 * DAY, &revoked),
        challenges: mistakes.duration("KEEP_CHALLENGES", options.keep_challenges.as_ref(), 10 * MINUTE, &challenges),
        accounts: given(options.keep_accounts.as_ref())
            .map(|_| mistakes.duration("KEEP_ACCOUNTS", options.keep_accounts.as_ref(), 365 * DAY, &accounts)),
        runs: mistakes.duration("KEEP_RUNS", options.keep_runs.as_ref(), 30 * DAY, &runs),
    }
}
