//! Replaces the secret in three steps: `add` makes the new secret available to all processes, `use`
//! selects the new secret for new credentials, and `retire` removes the old secret after all
//! credentials made with it have expired. After each step, every process must reload before the
//! next step. The processes may reload in any order, and no user is logged out.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, Subcommand};
use secrecy::zeroize::Zeroizing;

use super::say;
use crate::config::parse_file;
use crate::credentials::Secrets;
use crate::files;

#[derive(Subcommand, Debug)]
pub(in crate::commands) enum Step {
    /// Generate a secret, append it to the file and print the secret's name; after SIGHUP, the
    /// secret verifies credentials
    #[command(
        after_help = "Example:\n  auth-api keys secret add --auth-secret-file /etc/auth-api/secret"
    )]
    Add(File),
    /// Print the names of the secrets in the file; new credentials are made with the first secret
    #[command(
        after_help = "Example:\n  auth-api keys secret list --auth-secret-file /etc/auth-api/secret"
    )]
    List(File),
    /// Move a secret to the first position in the file; after SIGHUP, new credentials are made with
    /// this secret
    #[command(
        after_help = "Example:\n  auth-api keys secret use 5f3a09c1 --auth-secret-file /etc/auth-api/secret"
    )]
    Use(Named),
    /// Remove a secret from the file; first wait until all credentials made with the secret have
    /// expired, because they are rejected after SIGHUP
    #[command(
        after_help = "Example:\n  auth-api keys secret retire 9be2d04e --auth-secret-file /etc/auth-api/secret"
    )]
    Retire(Named),
}

#[derive(Args, Debug)]
pub(in crate::commands) struct File {
    /// The file that contains `AUTH_SECRET`
    #[arg(long, env, value_name = "FILE")]
    auth_secret_file: PathBuf,
}

#[derive(Args, Debug)]
pub(in crate::commands) struct Named {
    /// The name of the secret, which `add` and `list` print
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    file: File,
}

/// Returns 32 random bytes as base64.
pub(super) fn fresh() -> Result<Zeroizing<String>, getrandom::Error> {
    let mut secret = Zeroizing::new([0; 32]);
    getrandom::fill(secret.as_mut_slice())?;
    Ok(Zeroizing::new(STANDARD.encode(secret.as_slice())))
}

/// Returns the name of a secret. The name reveals nothing about the secret.
fn name(secret: &str) -> String {
    let hash =
        blake3::derive_key("session-reaper auth-api 2026-11 name of a secret", secret.as_bytes());
    hex::encode(&hash[..4])
}

pub(super) fn run(step: &Step) -> anyhow::Result<()> {
    let (Step::Add(file)
    | Step::List(file)
    | Step::Use(Named { file, .. })
    | Step::Retire(Named { file, .. })) = step;
    let path = file.auth_secret_file.as_path();
    let _lock = files::lock(path).with_context(|| path.display().to_string())?;
    let text =
        parse_file(path, |text| Secrets::parse(text).map(|_| Zeroizing::new(text.to_owned())));
    let text = text.map_err(anyhow::Error::msg)?;
    let mut secrets: Vec<&str> = text.split(',').map(str::trim).collect();
    let find = |wanted: &str| {
        let found = secrets.iter().position(|secret| name(secret) == wanted);
        found.with_context(|| {
            format!(
                "{}: there is no secret {wanted}; `auth-api keys secret list` prints the names",
                path.display()
            )
        })
    };
    let fresh = fresh()?;
    let next = match step {
        Step::List(_) => {
            for secret in &secrets {
                say(name(secret));
            }
            return Ok(());
        }
        Step::Add(_) => {
            secrets.push(&fresh);
            "Send SIGHUP to every auth-api process. Then run `auth-api keys secret use NAME` to make new credentials with the new secret."
        }
        Step::Use(Named { name, .. }) => {
            let at = find(name)?;
            let secret = secrets.remove(at);
            secrets.insert(0, secret);
            "Send SIGHUP to every auth-api process. Keep the other secrets for SESSION_MAX_AGE, because existing credentials were made with them."
        }
        Step::Retire(Named { name, .. }) => {
            let at = find(name)?;
            if at == 0 {
                bail!(
                    "new credentials are made with {name}: first run `auth-api keys secret use` with another secret"
                );
            }
            secrets.remove(at);
            "Send SIGHUP to every auth-api process. After that, credentials made with the removed secret are rejected."
        }
    };
    let content = Zeroizing::new(format!("{}\n", secrets.join(",")));
    files::replace(path, &content).with_context(|| path.display().to_string())?;
    if matches!(step, Step::Add(_)) {
        say(name(&fresh));
    }
    eprintln!("{next}");
    Ok(())
}
