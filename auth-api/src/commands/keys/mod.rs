mod secret;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use chrono::{DateTime, SecondsFormat, Utc};
use clap::{Args, Subcommand};
use comfy_table::{Table, presets};

use super::output::OutputOption;
use super::say;
use crate::clock;
use crate::credentials::signing_keys::{self, KeyStatus, Phase, SigningKeys};

#[derive(Subcommand, Debug)]
pub(super) enum Command {
    /// Generate a signing key in a directory and print its path
    #[command(after_help = "Example:\n  auth-api keys generate --dir /etc/auth-api/keys")]
    Generate {
        /// The directory for the key; created if it does not exist
        #[arg(long, env = "SIGNING_KEYS_DIR", value_name = "D")]
        dir: PathBuf,
    },
    /// Generate the next signing key, and print its path and the time at which it starts to sign
    #[command(after_help = "Example:
  auth-api keys rotate --dir /etc/auth-api/keys && systemctl reload auth-api")]
    Rotate(Keys),
    /// Show the status of each signing key
    #[command(after_help = "Example:\n  auth-api keys list --dir /etc/auth-api/keys")]
    List {
        #[command(flatten)]
        keys: Keys,
        #[command(flatten)]
        output: OutputOption,
    },
    /// Delete the signing keys whose tokens have all expired
    #[command(after_help = "Example:
  auth-api keys retire --dir /etc/auth-api/keys && systemctl reload auth-api")]
    Retire {
        #[command(flatten)]
        keys: Keys,
        /// Delete only the key with this id
        #[arg(value_name = "KID")]
        kid: Option<String>,
        /// Delete the key even if it still signs or verifies; use this flag if the key has leaked
        #[arg(long, requires = "kid")]
        now: bool,
    },
    /// Generate a secret for `AUTH_SECRET` and print it; the subcommands of this command replace
    /// the secret in a file step by step
    #[command(after_help = "Example:\n  (umask 077; auth-api keys secret > /run/secrets/auth)")]
    Secret {
        #[command(subcommand)]
        step: Option<secret::Step>,
    },
}

/// The directory of the keys, and the delay before a new key starts to sign.
#[derive(Args, Debug)]
pub(super) struct Keys {
    /// The directory of the keys
    #[arg(long, env = "SIGNING_KEYS_DIR", value_name = "D")]
    dir: PathBuf,
    /// Age at which a key starts to sign; use the same value as for `auth-api serve`
    #[arg(long = "signing-key-delay", env = "SIGNING_KEY_DELAY", default_value = "10m", value_parser = humantime::parse_duration)]
    delay: Duration,
}

pub(super) fn run(command: &Command) -> anyhow::Result<()> {
    let now = clock::host_now();
    match command {
        Command::Generate { dir } => say(signing_keys::generate(dir, now)?.display()),
        Command::Rotate(keys) => rotate(keys, now)?,
        Command::List { keys, output } => list(keys, *output, now)?,
        Command::Retire { keys, kid, now: leaked } => retire(keys, kid.as_deref(), *leaked, now)?,
        Command::Secret { step: None } => say(secret::fresh()?.as_str()),
        Command::Secret { step: Some(step) } => secret::run(step)?,
    }
    Ok(())
}

fn rotate(keys: &Keys, now: DateTime<Utc>) -> anyhow::Result<()> {
    let existing = SigningKeys::read(&keys.dir, keys.delay)?;
    let waiting = existing.standing(now).into_iter().find(|key| key.phase == Phase::Waiting);
    if let Some(KeyStatus { kid, until: Some(until), .. }) = waiting {
        bail!("{kid} is on its way already: it starts to sign at {}", seconds(until));
    }
    let path = signing_keys::generate(&keys.dir, now)?;
    say(path.display());
    warn_of_many(&existing.standing(now));
    let signs_from = now + chrono::Duration::from_std(keys.delay)?;
    eprintln!(
        "Send SIGHUP to every auth-api process before {}, when the new key starts to sign. Half an hour after that time, \
         `auth-api keys retire` can delete the previous key.",
        seconds(signs_from)
    );
    Ok(())
}

/// The number of keys above which `rotate` logs a warning. A monthly rotation needs two or three
/// keys. Each additional key should have been retired, because anyone who obtains its file can sign
/// tokens.
const MANY: usize = 16;

/// Logs a warning if there are many keys. `before` contains the keys that existed before
/// the rotation.
fn warn_of_many(before: &[KeyStatus<'_>]) {
    let keys = before.len() + 1;
    if keys > MANY {
        let spent = before.iter().filter(|key| key.phase == Phase::Spent).count();
        tracing::warn!(
            event = "many_signing_keys",
            keys,
            spent,
            "many signing keys; delete expired ones with `auth-api keys retire`"
        );
    }
}

fn list(keys: &Keys, output: OutputOption, now: DateTime<Utc>) -> anyhow::Result<()> {
    let keys = SigningKeys::read(&keys.dir, keys.delay)?;
    let statuses = keys.standing(now);
    output.print(&statuses, || table(&statuses))
}

fn table(statuses: &[KeyStatus<'_>]) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(["KID", "CREATED", "STATUS", "UNTIL"]);
    for key in statuses {
        let until = key.until.map(seconds).unwrap_or_default();
        table.add_row([
            key.kid.to_owned(),
            seconds(key.made_at),
            status(key.phase).to_owned(),
            until,
        ]);
    }
    table.trim_fmt()
}

/// Returns the phase of a key as text that follows the key in a sentence, such as "signs".
fn status(phase: Phase) -> &'static str {
    match phase {
        Phase::Waiting => "is published",
        Phase::Signing => "signs",
        Phase::Verifying => "verifies",
        Phase::Spent => "can be retired",
    }
}

fn retire(keys: &Keys, kid: Option<&str>, leaked: bool, now: DateTime<Utc>) -> anyhow::Result<()> {
    let existing = SigningKeys::read(&keys.dir, keys.delay)?;
    let statuses = existing.standing(now);
    let Some(kid) = kid else {
        let spent: Vec<_> = statuses.iter().filter(|key| key.phase == Phase::Spent).collect();
        for key in &spent {
            delete(key.path)?;
        }
        if spent.is_empty() {
            eprintln!("Nothing to retire: tokens signed with each key may still be valid.");
        }
        return Ok(());
    };
    let key = statuses.iter().find(|key| key.kid == kid);
    let key = key.with_context(|| format!("there is no key {kid} in {}", keys.dir.display()))?;
    if statuses.iter().all(|other| other.kid == kid || other.phase == Phase::Spent) {
        bail!(
            "{kid} is the only key that could sign: first generate another one (auth-api keys rotate) and send SIGHUP"
        );
    }
    if key.phase != Phase::Spent && !leaked {
        let until = key.until.map(|until| format!(" until {}", seconds(until))).unwrap_or_default();
        bail!(
            "{kid} {}{until}: without it, access tokens would be rejected. If the key has leaked, delete it with --now",
            status(key.phase)
        );
    }
    // If the key has leaked, delete all expired keys as well: the oldest remaining key signs
    // immediately, and that key must be the new one.
    for spent in
        statuses.iter().filter(|other| leaked && other.kid != kid && other.phase == Phase::Spent)
    {
        delete(spent.path)?;
    }
    delete(key.path)
}

fn delete(path: &Path) -> anyhow::Result<()> {
    std::fs::remove_file(path).with_context(|| path.display().to_string())?;
    say(format_args!("deleted {}", path.display()));
    Ok(())
}

fn seconds(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}
