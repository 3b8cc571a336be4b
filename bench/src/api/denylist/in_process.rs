//! Executes the look-up code of auth-api in this process and times each call.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use auth_api::denylist::keep_in_sync;
use auth_api::state::State;
use clap::Parser;
use schema::ids::SessionId;
use tokio::task::JoinHandle;

use super::pace::{Pace, Taken};

/// How long the first build of the denylist (the list of revoked sessions) may take. The limit ends
/// only a run that hangs.
const PATIENCE: Duration = Duration::from_mins(10);
/// The interval at which to check whether the denylist is complete.
const POLL: Duration = Duration::from_millis(10);

/// The options of `auth-api serve`.
#[derive(Parser)]
#[command(name = "auth-api")]
struct Flags {
    #[command(flatten)]
    options: auth_api::config::Options,
}

/// The state of an auth-api that serves no requests: its stores, and a denylist that it keeps
/// complete.
pub(super) struct InProcess {
    state: Arc<State>,
    keeping: JoinHandle<()>,
}

impl InProcess {
    pub(super) async fn start(flags: impl Iterator<Item = String>) -> Result<Self> {
        let flags = Flags::try_parse_from(std::iter::once("auth-api".to_owned()).chain(flags))?;
        let state = Arc::new(State::new(&flags.options.check()?)?);
        let kept = Arc::clone(&state);
        let keeping =
            tokio::spawn(
                async move { keep_in_sync(&kept.denylist, &kept.database, &kept.clock).await },
            );
        let this = Self { state, keeping };
        let until = Instant::now() + PATIENCE;
        while this.state.denylist.ask_redis(SessionId::generate()).await.is_none() {
            ensure!(
                Instant::now() < until,
                "the denylist in this process was not complete in time"
            );
            tokio::time::sleep(POLL).await;
        }
        Ok(this)
    }

    /// Looks up unknown sessions, because most tokens belong to sessions that are not in the
    /// denylist.
    pub(super) fn look_up(
        &self,
        mut pace: Pace,
    ) -> impl Future<Output = Result<Vec<Taken>>> + Send + 'static {
        let state = Arc::clone(&self.state);
        async move {
            let mut all = Vec::new();
            while let Some(since) = pace.next().await {
                let denied = state.denylist.ask_redis(SessionId::generate()).await;
                // If the response of Redis cannot be trusted, auth-api falls back to PostgreSQL.
                // Here, such a look-up counts as infinitely slow.
                all.push(denied.map_or_else(|| Taken::never(since), |_| Taken::since(since)));
                ensure!(denied != Some(true), "an unknown session was denied");
            }
            Ok(all)
        }
    }
}

impl Drop for InProcess {
    fn drop(&mut self) {
        self.keeping.abort();
    }
}
