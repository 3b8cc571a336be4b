use std::sync::atomic::Ordering;
use std::time::Duration;

use ::metrics::gauge;
use schema::sessions::{self, Session};
use uuid::Uuid;

use super::Denylist;
use crate::clock::Clock;
use crate::database::{Database, DatabaseError, timed};
use crate::metrics;
use crate::redis::RedisFailure;

/// The number of sessions in a page of a rebuild. Reading a page from PostgreSQL and writing it to
/// Redis take a few milliseconds each.
const PAGE: i64 = 1000;

/// The first delay before a failed rebuild is retried. It is short, because Redis may just have
/// been restarted. The delay doubles with each failure.
const FIRST_RETRY: Duration = Duration::from_millis(250);
/// The maximum delay before a failed rebuild is retried.
const LAST_RETRY: Duration = Duration::from_secs(2);

/// Why a rebuild failed.
#[derive(Debug, thiserror::Error)]
enum RebuildError {
    #[error("PostgreSQL: {0}")]
    Database(#[from] DatabaseError),
    #[error("Redis: {0}")]
    Redis(#[from] RedisFailure),
    #[error("Redis was emptied or another rebuild started during the rebuild")]
    Overtaken,
    #[error("the connection to Redis changed during the rebuild")]
    Reconnected,
    #[error("Redis responds too slowly to be used for requests")]
    Slow,
    #[error("no random bytes: {0}")]
    Random(#[from] getrandom::Error),
}

/// Sets the marker (the key that states that the list is complete) only if the epoch (the random
/// value that identifies this rebuild) still exists.
const SET_MARKER: &str = "if redis.call('GET', KEYS[1]) == ARGV[1] then
    redis.call('SET', KEYS[2], ARGV[1], 'EX', ARGV[2])
    return 1
end
return 0";

/// Keeps the denylist complete and the clock synchronized until the process ends. Rebuilds the list
/// at every sync interval, and also as soon as the list can no longer be trusted.
pub async fn keep_in_sync(denylist: &Denylist, database: &Database, clock: &Clock) {
    let mut retry = FIRST_RETRY;
    let mut last_error = String::new();
    loop {
        match sync(denylist, database, clock).await {
            Ok(denied) => {
                tracing::debug!(event = "denylist_rebuilt", denied, "denylist rebuilt");
                (retry, last_error) = (FIRST_RETRY, String::new());
                let requested = tokio::select! {
                    () = tokio::time::sleep(denylist.sync_interval) => false,
                    () = denylist.wake.notified() => true,
                    () = denylist.redis.outage() => true,
                };
                if requested {
                    // Wait briefly, so that several reports of one problem cause only one rebuild.
                    tokio::time::sleep(jitter(Duration::from_millis(10))).await;
                }
            }
            Err(error) => {
                // A failure usually recurs, so a warning is logged only when the error changes.
                let text = error.to_string();
                if text == last_error {
                    tracing::debug!(event = "denylist_rebuild_failed_again", %error, "denylist rebuild failed again");
                } else {
                    tracing::warn!(event = "denylist_rebuild_failed", %error, "denylist rebuild failed");
                    last_error = text;
                }
                tokio::time::sleep(jitter(retry)).await;
                retry = (retry * 2).min(LAST_RETRY);
            }
        }
    }
}

/// Adds a random delay of up to 50 %. Without it, replicas of auth-api that rebuild at the same
/// time could interrupt each other's rebuilds again and again.
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
    /// Writes every recently revoked session to Redis, and then the marker. Returns the number of
    /// sessions written.
    async fn rebuild(&self, database: &Database) -> Result<usize, RebuildError> {
        let mut random = [0; 16];
        getrandom::fill(&mut random)?;
        let fresh = Uuid::from_bytes(random).simple().to_string();
        let missed = self.missed.load(Ordering::SeqCst);

        let mut begin = redis::pipe();
        if missed > 0 {
            // The marker is wrong, because denials are missing. A rebuild that is already in
            // progress would set the marker again without these denials; a new epoch makes that
            // rebuild fail.
            begin.cmd("DEL").arg(self.marker()).ignore();
            begin.cmd("SET").arg(self.epoch()).arg(&fresh).ignore();
        } else {
            // Keep an existing epoch: concurrent rebuilds write the same list, so they need not
            // stop each other.
            begin.cmd("SET").arg(self.epoch()).arg(&fresh).arg("NX").ignore();
        }
        // The epoch lives for ten minutes, longer than a rebuild should take. A rebuild that takes
        // even longer finds that the epoch is gone, and starts over.
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
            let (current, ()) = self.redis.bypass_breaker("rebuild", &pipeline).await?;
            if current != number {
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
        let (current, (set,)): (u64, (bool,)) = self.redis.bypass_breaker("rebuild", &end).await?;
        if current != number {
            return Err(RebuildError::Reconnected);
        }
        if !set {
            return Err(RebuildError::Overtaken);
        }
        if self.redis.is_breaker_open() {
            return Err(RebuildError::Slow);
        }
        // This rebuild does not cover denials that were missed after it started. The missed denials
        // have requested another rebuild, which must complete before the list is trusted.
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
