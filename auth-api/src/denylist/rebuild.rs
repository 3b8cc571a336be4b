use std::sync::atomic::Ordering;
use std::time::Duration;

use ::metrics::gauge;
use schema::sessions::{self, Session};
use uuid::Uuid;

use super::Denylist;
use crate::clock::Clock;
use crate::metrics;
use crate::redis::RedisFailure;
use crate::state::{Database, DatabaseError, State, timed};

/// Sessions a page of a rebuild: a few milliseconds of either store.
const PAGE: i64 = 1000;

/// Between two tries when a rebuild failed: quick at first, for the moment after a restart, then
/// twice as long each time.
const FIRST_RETRY: Duration = Duration::from_millis(250);
const LAST_RETRY: Duration = Duration::from_secs(2);

/// Why a rebuild did not end well.
#[derive(Debug, thiserror::Error)]
enum RebuildError {
    #[error("PostgreSQL: {0}")]
    Database(#[from] DatabaseError),
    #[error("Redis: {0}")]
    Redis(#[from] RedisFailure),
    #[error("Redis was emptied, or another rebuild began, in the middle of it")]
    Overtaken,
    #[error("the connection to Redis changed in the middle of it")]
    Reconnected,
    #[error("Redis answers too slowly for requests to ask it")]
    Slow,
    #[error("no randomness: {0}")]
    Random(#[from] getrandom::Error),
}

/// Renews the marker only if the epoch that this rebuild began with still stands.
const SET_MARKER: &str = "if redis.call('GET', KEYS[1]) == ARGV[1] then
    redis.call('SET', KEYS[2], ARGV[1], 'EX', ARGV[2])
    return 1
end
return 0";

/// Keeps the denylist complete and the clock right, for as long as the process lives: at every sync
/// interval, and whenever somebody found that the list is not to be believed.
pub async fn keep_in_sync(state: &State) {
    let denylist = &state.denylist;
    let mut retry = FIRST_RETRY;
    let mut told = String::new();
    loop {
        match sync(denylist, &state.database, &state.clock).await {
            Ok(denied) => {
                tracing::debug!(event = "denylist_rebuilt", denied, "denylist rebuilt");
                (retry, told) = (FIRST_RETRY, String::new());
                let found = tokio::select! {
                    () = tokio::time::sleep(denylist.sync_interval) => false,
                    () = denylist.wake.notified() => true,
                    () = denylist.redis.outage() => true,
                };
                if found {
                    // Several findings of one trouble are one rebuild.
                    tokio::time::sleep(jitter(Duration::from_millis(10))).await;
                }
            }
            Err(error) => {
                // What failed once fails many times: it is told when it changes.
                let text = error.to_string();
                if text == told {
                    tracing::debug!(event = "denylist_rebuild_failed_again", %error, "denylist rebuild failed again");
                } else {
                    tracing::warn!(event = "denylist_rebuild_failed", %error, "denylist rebuild failed");
                    told = text;
                }
                tokio::time::sleep(jitter(retry)).await;
                retry = (retry * 2).min(LAST_RETRY);
            }
        }
    }
}

/// Up to half as long again, so that replicas do not overtake each other's rebuilds for ever.
fn jitter(duration: Duration) -> Duration {
    let mut byte = [0];
    let _ = getrandom::fill(&mut byte);
    duration + duration * u32::from(byte[0]) / 512
}

async fn sync(
    denylist: &Denylist,
    database: &Database,
    clock: &Clock,
) -> Result<usize, RebuildError> {
    {
        let mut connection = database.acquire().await?;
        let now =
            timed(connection.watch(), "database_now", sessions::database_now(&mut connection))
                .await;
        clock.sync(now.map_err(DatabaseError::from)?);
    }
    let denied = denylist.rebuild(database).await?;
    gauge!(metrics::DENYLIST_SYNCED).set(clock.now().map_or(0.0, metrics::in_seconds));
    Ok(denied)
}

impl Denylist {
    /// Writes every session revoked lately, then the marker. Returns how many.
    async fn rebuild(&self, database: &Database) -> Result<usize, RebuildError> {
        let mut random = [0; 16];
        getrandom::fill(&mut random)?;
        let fresh = Uuid::from_bytes(random).simple().to_string();
        let missed = self.missed.load(Ordering::SeqCst);

        let mut begin = redis::pipe();
        if missed > 0 {
            // The marker claims too much, and so would that of a rebuild that has begun: a new
            // epoch stops it.
            begin.cmd("DEL").arg(self.marker()).ignore();
            begin.cmd("SET").arg(self.epoch()).arg(&fresh).ignore();
        } else {
            // One that stands is shared: rebuilds side by side write the same list, and need not
            // stop each other.
            begin.cmd("SET").arg(self.epoch()).arg(&fresh).arg("NX").ignore();
        }
        // It outlives any rebuild; one that takes longer finds it gone and starts over.
        begin.cmd("EXPIRE").arg(self.epoch()).arg(600).ignore();
        begin.cmd("GET").arg(self.epoch());
        let (number, (epoch,)): (u64, (String,)) =
            self.redis.bypass_breaker("rebuild", &begin).await?;

        let mut denied = 0;
        let mut after = None;
        loop {
            let page = {
                let mut connection = database.acquire().await?;
                let watch = connection.watch();
                let page = Session::revoked_within(&mut connection, self.window, after, PAGE);
                timed(watch, "sessions_revoked_within", page).await.map_err(DatabaseError::from)?
            };
            let Some(last) = page.last() else { break };
            after = Some(*last);
            let mut pipeline = redis::pipe();
            for (_, id) in &page {
                self.push_denial(&mut pipeline, *id);
            }
            let (over, ()) = self.redis.bypass_breaker("rebuild", &pipeline).await?;
            if over != number {
                return Err(RebuildError::Reconnected);
            }
            denied += page.len();
        }

        let mut end = redis::pipe();
        let lifetime = (self.sync_interval * 3).as_secs().max(1);
        end.cmd("EVAL")
            .arg(SET_MARKER)
            .arg(2)
            .arg(self.epoch())
            .arg(self.marker())
            .arg(&epoch)
            .arg(lifetime);
        let (over, (set,)): (u64, (bool,)) = self.redis.bypass_breaker("rebuild", &end).await?;
        if over != number {
            return Err(RebuildError::Reconnected);
        }
        if !set {
            return Err(RebuildError::Overtaken);
        }
        if self.redis.is_left_alone() {
            return Err(RebuildError::Slow);
        }
        // Denials that were missed since it began are not made good by it: then the next one, which
        // they asked for, has to end first.
        if self.missed.fetch_sub(missed, Ordering::SeqCst) == missed
            && self.trusted.swap(number, Ordering::SeqCst) != number
        {
            tracing::info!(
                event = "denylist_complete",
                denied,
                "denylist complete; reading it from Redis"
            );
        }
        Ok(denied)
    }
}
