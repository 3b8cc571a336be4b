//! The way of a new secret: first all processes know it (`add`), then they make new credentials with it (`use`), and when no
//! credential of the old one is left it goes (`retire`). Whoever is sent SIGHUP in between, and when, nobody is logged out.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, Subcommand};
use secrecy::zeroize::Zeroizing;

use crate::config::parse_file;
use crate::credentials::Secrets;
use crate::files;

#[derive(Subcommand, Debug)]
pub(in crate::commands) enum Step {
    /// Put a fresh secret at the end of the file: after SIGHUP it verifies
    #[command(after_help = "Example:\n  auth-api keys secret add --auth-secret-file /etc/auth-api/secret")]
    Add(File),
    /// Put the last secret first: after SIGHUP it makes new credentials
    #[command(after_help = "Example:\n  auth-api keys secret use --auth-secret-file /etc/auth-api/secret")]
    Use(File),
    /// Take the last secret out, once what it made has expired: after SIGHUP nothing of it is good
    #[command(after_help = "Example:\n  auth-api keys secret retire --auth-secret-file /etc/auth-api/secret")]
    Retire(File),
}

#[derive(Args, Debug)]
pub(in crate::commands) struct File {
    /// The file that holds `AUTH_SECRET`
    #[arg(long, env, value_name = "FILE")]
    auth_secret_file: PathBuf,
}

/// 32 random bytes as base64.
pub(super) fn fresh() -> Result<Zeroizing<String>, getrandom::Error> {
    let mut secret = Zeroizing::new([0; 32]);
    getrandom::fill(secret.as_mut_slice())?;
    Ok(Zeroizing::new(STANDARD.encode(secret.as_slice())))
}

pub(super) fn run(step: &Step) -> anyhow::Result<()> {
    let (Step::Add(file) | Step::Use(file) | Step::Retire(file)) = step;
    let path = file.auth_secret_file.as_path();
    let text = parse_file(path, |text| Secrets::parse(text).map(|_| Zeroizing::new(text.to_owned())));
    let text = text.map_err(anyhow::Error::msg)?;
    let mut secrets: Vec<&str> = text.split(',').map(str::trim).collect();
    let fresh = fresh()?;
    let next = match step {
        Step::Add(_) => {
            secrets.push(&fresh);
            "Send SIGHUP to every auth-api; then `auth-api keys secret use` makes new credentials with it."
        }
        Step::Use(_) => {
            only_one(&secrets, path, "auth-api keys secret add")?;
            secrets.rotate_right(1);
            "Send SIGHUP to every auth-api. Keep the older secret for SESSION_MAX_AGE: cookies are made with it."
        }
        Step::Retire(_) => {
            only_one(&secrets, path, "auth-api keys secret add, and use")?;
            secrets.pop();
            "Send SIGHUP to every auth-api: what the secret made is refused from then on."
        }
    };
    let content = Zeroizing::new(format!("{}\n", secrets.join(",")));
    files::replace(path, &content).with_context(|| path.display().to_string())?;
    eprintln!("{next}");
    Ok(())
}

fn only_one(secrets: &[&str], path: &Path, first: &str) -> anyhow::Result<()> {
    if secrets.len() == 1 {
        bail!("{}: there is only one secret; first comes `{first}`", path.display());
    }
    Ok(())
}
