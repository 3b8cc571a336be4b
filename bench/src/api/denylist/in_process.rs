//! auth-api's own look-up, called in this process, where each one is timed by itself.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use auth_api::denylist::keep_in_sync;
use auth_api::state::State;
use clap::Parser;
use schema::ids::SessionId;
use tokio::task::JoinHandle;

use super::pace::{Pace, Taken};

/// How long it may take to believe Redis: a bound for what hangs.
const PATIENCE: Duration = Duration::from_mins(10);
/// How often it is asked whether it does.
const POLL: Duration = Duration::from_millis(10);

/// The flags of `auth-api serve`.
#[derive(Parser)]
#[command(name = "auth-api")]
struct Flags {
    #[command(flatten)]
    options: auth_api::config::Options,
}

/// What an auth-api has that serves nobody: its stores, and a denylist that it keeps complete.
pub(super) struct InProcess {
    state: Arc<State>,
    keeping: JoinHandle<()>,
}

impl InProcess {
    pub(super) async fn start(flags: impl Iterator<Item = String>) -> Result<Self> {
        let flags = Flags::try_parse_from(std::iter::once("auth-api".to_owned()).chain(flags))?;
        let state = Arc::new(State::new(&flags.options.check()?)?);
        let kept = Arc::clone(&state);
        let keeping = tokio::spawn(async move { keep_in_sync(&kept).await });
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

    /// Looks sessions up that nobody knows, as those of most tokens are.
    pub(super) fn look_up(
        &self,
        mut pace: Pace,
    ) -> impl Future<Output = Result<Vec<Taken>>> + Send + 'static {
        let state = Arc::clone(&self.state);
        async move {
            let mut all = Vec::new();
            while let Some(since) = pace.next().await {
                let denied = state.denylist.ask_redis(SessionId::generate()).await;
                // Where Redis is not believed, auth-api asks PostgreSQL: for this bench as good as
                // never.
                all.push(denied.map_or_else(|| Taken::never(since), |_| Taken::since(since)));
                ensure!(denied != Some(true), "a session that nobody knows was denied");
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
