//! Reloads the signing keys, `AUTH_SECRET_FILE`, the introspection clients and the operators' token
//! on SIGHUP.
//!
//! If a file cannot be used, the previous values stay in force and an error is logged, because an
//! error in a file must not log users out. If the file of the clients or of the operators' token
//! was deleted, the credentials in it are no longer accepted: a deletion is considered intentional.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::Signal;

use crate::admin::AdminToken;
use crate::clock;
use crate::config::{Config, parse_file};
use crate::credentials::Secrets;
use crate::credentials::clients::Clients;
use crate::credentials::signing_keys::SigningKeys;
use crate::files;
use crate::metrics;
use crate::state::State;

/// The files and directories to reload.
pub(crate) struct Sources {
    signing_keys: PathBuf,
    signing_key_delay: Duration,
    auth_secret: Option<PathBuf>,
    clients: Option<PathBuf>,
    admin_token: Option<PathBuf>,
}

impl Sources {
    /// Returns the sources in the configuration of this process.
    pub(crate) fn of(config: &Config) -> Self {
        Self {
            signing_keys: config.signing_keys_dir.clone(),
            signing_key_delay: config.signing_key_delay,
            auth_secret: config.auth_secret_file.clone(),
            clients: config.clients_file.clone(),
            admin_token: config.admin_token_file.clone(),
        }
    }
}

/// Reloads all sources at each SIGHUP, one signal after another.
pub(crate) async fn at_hangup(state: &Arc<State>, sources: &Sources, mut hangups: Signal) {
    while hangups.recv().await.is_some() {
        // The files have a few hundred bytes. If the disk hangs, the other worker threads continue.
        let read = tokio::task::block_in_place(|| {
            [
                signing_keys(state, sources),
                auth_secret(state, sources),
                clients(state, sources),
                admin_token(state, sources),
            ]
        });
        let mistakes: Vec<String> = read.into_iter().filter_map(Result::err).collect();
        metrics::show_reload(mistakes.is_empty(), clock::host_now());
        for mistake in &mistakes {
            tracing::error!(
                event = "reload_failed",
                mistake,
                "reload failed; keeping the previous configuration"
            );
        }
        tracing::info!(event = "reload_completed", mistakes = mistakes.len(), "reload completed");
    }
}

fn signing_keys(state: &State, sources: &Sources) -> Result<(), String> {
    let fresh = SigningKeys::read(&sources.signing_keys, sources.signing_key_delay)
        .map_err(|error| error.to_string())?;
    let old = state.access_tokens.keys();
    let kids =
        |keys: &SigningKeys| keys.made().map(|(kid, _)| kid.to_owned()).collect::<BTreeSet<_>>();
    let (before, after) = (kids(&old), kids(&fresh));
    metrics::show_signing_keys(&fresh);
    state.access_tokens.replace_keys(fresh);
    for kid in after.difference(&before) {
        tracing::info!(event = "signing_key_published", kid, "signing key published");
    }
    for kid in before.difference(&after) {
        metrics::forget_signing_key(kid);
        tracing::warn!(
            event = "signing_key_removed",
            kid,
            "signing key removed; tokens signed with it are now rejected"
        );
    }
    Ok(())
}

fn auth_secret(state: &State, sources: &Sources) -> Result<(), String> {
    let Some(path) = &sources.auth_secret else { return Ok(()) };
    let fresh =
        parse_file(path, Secrets::parse).map_err(|error| format!("AUTH_SECRET_FILE: {error}"))?;
    if !fresh.share_any_with(&state.secrets) {
        return Err(format!(
            "AUTH_SECRET_FILE: {}: contains none of the secrets in force, so all users would be logged out; if that is intended, \
             restart auth-api",
            path.display()
        ));
    }
    state.secrets.replace_by(&fresh);
    Ok(())
}

fn clients(state: &State, sources: &Sources) -> Result<(), String> {
    let Some(path) = &sources.clients else { return Ok(()) };
    if files::is_deleted(path) {
        state.clients.close();
        warn_of_deleted("INTROSPECTION_CLIENTS_FILE", path);
        return Ok(());
    }
    let fresh = parse_file(path, Clients::parse)
        .map_err(|error| format!("INTROSPECTION_CLIENTS_FILE: {error}"))?;
    state.clients.replace(fresh);
    Ok(())
}

fn admin_token(state: &State, sources: &Sources) -> Result<(), String> {
    let Some(path) = &sources.admin_token else { return Ok(()) };
    if files::is_deleted(path) {
        state.admin.close();
        warn_of_deleted("ADMIN_TOKEN_FILE", path);
        return Ok(());
    }
    let fresh = parse_file(path, AdminToken::parse)
        .map_err(|error| format!("ADMIN_TOKEN_FILE: {error}"))?;
    state.admin.replace(fresh);
    Ok(())
}

fn warn_of_deleted(variable: &'static str, path: &Path) {
    tracing::warn!(event = "file_deleted", variable, path = %path.display(), "file deleted; its credentials are no longer accepted");
}
