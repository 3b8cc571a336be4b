use std::io::{BufRead as _, ErrorKind, IsTerminal as _, Read as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret as _, SecretString};

use super::say;
use crate::config::{ClientsOptions, ConfigError};
use crate::credentials::clients::{self, ClientId, Clients};
use crate::credentials::{Argon2Memory, SecretHash, is_random_word, random_word};
use crate::files;

#[derive(Subcommand, Debug)]
pub(super) enum Command {
    /// Add a client and print its secret, which is stored nowhere else
    #[command(
        after_help = "Example:\n  auth-api clients add orders --introspection-clients-file /etc/auth-api/clients"
    )]
    Add {
        #[command(flatten)]
        request: Request,
        /// Give a client that is there already another secret; the old one ends at the next SIGHUP
        #[arg(long)]
        replace: bool,
    },
    /// Print the clients' ids
    #[command(
        after_help = "Example:\n  auth-api clients list --introspection-clients-file /etc/auth-api/clients"
    )]
    List(ClientsOptions),
    /// Remove a client
    #[command(
        after_help = "Example:\n  auth-api clients remove orders --introspection-clients-file /etc/auth-api/clients"
    )]
    Remove(Request),
    /// Replace the argon2id hash that an earlier release stored; the secret, read from standard
    /// input, stays valid
    #[command(after_help = "Example:
  auth-api clients rehash orders --introspection-clients-file /etc/auth-api/clients < secret")]
    Rehash(Request),
}

#[derive(Args, Debug)]
pub(super) struct Request {
    /// What the client is called: letters, digits, `.`, `_`, `-`, `~`
    #[arg(value_name = "ID", value_parser = |text: &str| ClientId::parse(text))]
    id: ClientId,
    #[command(flatten)]
    options: ClientsOptions,
}

pub(super) fn run(command: &Command) -> anyhow::Result<()> {
    let (Command::Add { request: Request { options, .. }, .. }
    | Command::List(options)
    | Command::Remove(Request { options, .. })
    | Command::Rehash(Request { options, .. })) = command;
    let path = file(options)?;
    // Before the lock: a person may type it.
    let secret =
        if matches!(command, Command::Rehash(_)) { Some(secret_from_stdin()?) } else { None };
    let _lock = files::lock(&path).with_context(|| path.display().to_string())?;
    let text = read(&path)?;
    Clients::parse(&text).with_context(|| path.display().to_string())?;
    match command {
        Command::Add { request: Request { id, .. }, replace } => {
            if !replace && is_named(&text, id) {
                bail!(
                    "{}: there is a client {id} already; --replace gives it another secret",
                    path.display()
                );
            }
            let secret = random_word()?;
            let line = format!("{id}:{}", SecretHash::of(&secret));
            files::replace(&path, &with(&text, id, Some(&line)))
                .with_context(|| path.display().to_string())?;
            say(secret.expose_secret());
            eprintln!("{RELOAD}");
        }
        Command::List(_) => text.lines().filter_map(named).for_each(say),
        Command::Remove(Request { id, .. }) => {
            if !is_named(&text, id) {
                bail!("{}: there is no client {id}", path.display());
            }
            files::replace(&path, &with(&text, id, None))
                .with_context(|| path.display().to_string())?;
            eprintln!("{RELOAD}");
        }
        Command::Rehash(Request { id, .. }) => {
            let known = Clients::parse(&text).with_context(|| path.display().to_string())?;
            let hash = known
                .hash_of(id)
                .with_context(|| format!("{}: there is no client {id}", path.display()))?;
            let secret = secret.unwrap_or_default();
            if !hash.verifies(&secret, &mut Argon2Memory::default()) {
                bail!("standard input is not the secret of {id}; nothing was changed");
            }
            if !is_random_word(&secret) {
                bail!(
                    "the secret of {id} is not one that `clients add` made; `clients add {id} --replace` makes a good one"
                );
            }
            let line = format!("{id}:{}", SecretHash::of(&secret));
            files::replace(&path, &with(&text, id, Some(&line)))
                .with_context(|| path.display().to_string())?;
            eprintln!("{RELOAD}");
        }
    }
    Ok(())
}

/// A line of standard input.
fn secret_from_stdin() -> anyhow::Result<SecretString> {
    let stdin = std::io::stdin().lock();
    if stdin.is_terminal() {
        eprintln!("Type the client's secret, and Enter:");
    }
    let mut line = Zeroizing::new(String::new());
    stdin.take(LONGEST_SECRET).read_line(&mut line).context("standard input")?;
    Ok(line.trim().into())
}

/// Far more than any secret.
const LONGEST_SECRET: u64 = 4096;

const RELOAD: &str = "It counts once auth-api has been sent SIGHUP, every process of it.";

fn file(options: &ClientsOptions) -> Result<PathBuf, ConfigError> {
    let missing = || {
        ConfigError(vec![
            "INTROSPECTION_CLIENTS_FILE: missing: the file that holds the clients".into(),
        ])
    };
    options.file().cloned().ok_or_else(missing)
}

/// One that is not there holds nothing yet.
fn read(path: &Path) -> anyhow::Result<String> {
    match std::fs::read_to_string(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(String::new()),
        read => read.with_context(|| path.display().to_string()),
    }
}

fn is_named(text: &str, id: &ClientId) -> bool {
    text.lines().any(|line| named(line).as_ref() == Some(id))
}

fn named(line: &str) -> Option<ClientId> {
    clients::parse_line(line, 0).ok().flatten().map(|(id, _)| id)
}

/// The file with this line for a client in the place of the one that is there, or at the end;
/// everything else stays.
fn with(text: &str, id: &ClientId, line: Option<&str>) -> String {
    let mut line = line;
    let mut lines = Vec::new();
    for old in text.lines() {
        if named(old).as_ref() == Some(id) {
            lines.extend(line.take());
        } else {
            lines.push(old);
        }
    }
    lines.extend(line);
    lines.iter().flat_map(|line| [*line, "\n"]).collect()
}
