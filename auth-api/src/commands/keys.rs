use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Subcommand;
use secrecy::zeroize::Zeroizing;

use super::say;
use crate::clock;
use crate::credentials::signing_keys;

#[derive(Subcommand, Debug)]
pub(super) enum Command {
    /// Make a signing key in a directory and print its path
    #[command(after_help = "Example:\n  auth-api keys generate --dir /etc/auth-api/keys")]
    Generate {
        /// Where to put it; made if it is not there
        #[arg(long, value_name = "D")]
        dir: PathBuf,
    },
    /// Print a fresh secret for `AUTH_SECRET`
    #[command(after_help = "Example:\n  auth-api keys secret > /run/secrets/auth")]
    Secret,
}

pub(super) fn run(command: &Command) -> anyhow::Result<()> {
    match command {
        Command::Generate { dir } => say(signing_keys::generate(dir, clock::host_now())?.display()),
        Command::Secret => {
            let mut secret = Zeroizing::new([0; 32]);
            getrandom::fill(secret.as_mut_slice())?;
            say(Zeroizing::new(STANDARD.encode(secret.as_slice())).as_str());
        }
    }
    Ok(())
}
