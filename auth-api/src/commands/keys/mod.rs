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
    /// Make a signing key in a directory and print its path
    #[command(after_help = "Example:\n  auth-api keys generate --dir /etc/auth-api/keys")]
    Generate {
        /// Where to put it; made if it is not there
        #[arg(long, env = "SIGNING_KEYS_DIR", value_name = "D")]
        dir: PathBuf,
    },
    /// Make the signing key that takes over, and say when it does
    #[command(after_help = "Example:
  auth-api keys rotate --dir /etc/auth-api/keys && systemctl reload auth-api")]
    Rotate(Keys),
    /// Say how each signing key stands
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
        /// Only this one
        #[arg(value_name = "KID")]
        kid: Option<String>,
        /// It has leaked: delete it whatever it still signs or verifies
        #[arg(long, requires = "kid")]
        now: bool,
    },
    /// Print a fresh secret for `AUTH_SECRET`; or put one into a file, step by step
    #[command(after_help = "Example:\n  (umask 077; auth-api keys secret > /run/secrets/auth)")]
    Secret {
        #[command(subcommand)]
        step: Option<secret::Step>,
    },
}

/// Where the keys are, and when a new one signs.
#[derive(Args, Debug)]
pub(super) struct Keys {
    /// The directory of the keys
    #[arg(long, env = "SIGNING_KEYS_DIR", value_name = "D")]
    dir: PathBuf,
    /// How old a key must be before it signs, as auth-api is told
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
    let present = SigningKeys::read(&keys.dir, keys.delay)?;
    let waiting = present.standing(now).into_iter().find(|key| key.phase == Phase::Waiting);
    if let Some(KeyStatus { kid, until: Some(until), .. }) = waiting {
        bail!("{kid} is on its way already: it signs from {} on", seconds(until));
    }
    let path = signing_keys::generate(&keys.dir, now)?;
    say(path.display());
    warn_of_many(&present.standing(now));
    let signs = now + chrono::Duration::from_std(keys.delay)?;
    eprintln!(
        "Send SIGHUP to every auth-api before {}: from then on it signs. Half an hour later `auth-api keys retire` may \
         delete the one before it.",
        seconds(signs)
    );
    Ok(())
}

/// A month's rotation leaves two or three keys that are needed. Each more is a file that should
/// have been retired, and a key that signs for whoever gets hold of it.
const MANY: usize = 16;

/// `before` are the keys that were there before the one that was just made.
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
    let standing = keys.standing(now);
    output.print(&standing, || table(&standing))
}

fn table(standing: &[KeyStatus<'_>]) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(["KID", "MADE", "DOES", "UNTIL"]);
    for key in standing {
        let until = key.until.map(seconds).unwrap_or_default();
        table.add_row([
            key.kid.to_owned(),
            seconds(key.made_at),
            in_words(key.phase).to_owned(),
            until,
        ]);
    }
    table.trim_fmt()
}

fn in_words(phase: Phase) -> &'static str {
    match phase {
        Phase::Waiting => "is published",
        Phase::Signing => "signs",
        Phase::Verifying => "verifies",
        Phase::Spent => "nothing: retire it",
    }
}

fn retire(keys: &Keys, kid: Option<&str>, leaked: bool, now: DateTime<Utc>) -> anyhow::Result<()> {
    let present = SigningKeys::read(&keys.dir, keys.delay)?;
    let standing = present.standing(now);
    let Some(kid) = kid else {
        let spent: Vec<_> = standing.iter().filter(|key| key.phase == Phase::Spent).collect();
        for key in &spent {
            delete(key.path)?;
        }
        if spent.is_empty() {
            eprintln!("Nothing to retire: tokens of every key may still be good.");
        }
        return Ok(());
    };
    let key = standing.iter().find(|key| key.kid == kid);
    let key = key.with_context(|| format!("there is no key {kid} in {}", keys.dir.display()))?;
    if standing.iter().all(|other| other.kid == kid || other.phase == Phase::Spent) {
        bail!(
            "{kid} is the only key that could sign: make another one first (auth-api keys rotate), and send SIGHUP"
        );
    }
    if key.phase != Phase::Spent && !leaked {
        let until = key.until.map(|until| format!(" until {}", seconds(until))).unwrap_or_default();
        bail!(
            "{kid} {}{until}: without it access tokens would be refused. If it has leaked, --now deletes it all the same",
            in_words(key.phase)
        );
    }
    // Those that are spent go along: the oldest that is left signs at once.
    for spent in
        standing.iter().filter(|other| leaked && other.kid != kid && other.phase == Phase::Spent)
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
