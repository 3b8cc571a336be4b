//! When a daemon runs next is known to it alone: it says so in `reaper_state`, where `status` finds
//! it.

use std::net::SocketAddr;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use schema::connect::{ConnectError, chain};
use schema::state;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::ops::questions;
use crate::schedule::Schedule;
use crate::sweep::Sweep;

/// What its keys in `reaper_state` begin with; the instance follows.
pub const PREFIX: &str = "daemon:";

/// A daemon that has not said a new time so long after its last one is dead, or at work: that shows
/// in its run.
pub const OVERDUE: TimeDelta = TimeDelta::minutes(2);

/// A daemon says again that it is there, so that one which was killed is not announced for days.
const AGAIN: Duration = Duration::from_mins(1);

/// One that has not done so for so long is dead.
pub const SILENT: TimeDelta = TimeDelta::minutes(3);

/// What takes longer is given up until the next time changes; at its end the daemon waits for it.
const WITHIN: Duration = Duration::from_secs(5);

/// A schedule may tick each second: that often nobody looks.
const NOT_SOONER: Duration = Duration::from_secs(1);

/// What a daemon says of itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Registration {
    /// The next tick of its schedule, by its host's clock.
    pub next_at: DateTime<Utc>,
    /// As in crontab(5).
    pub schedule: String,
    /// Of the schedule.
    pub timezone: String,
    /// Of the program.
    pub version: String,
    /// Where its status page is, as seen from its host.
    pub page: String,
}

/// Says so after each change of the next time, until the sender is gone; then it takes it back.
pub fn publish(
    sweep: &Sweep,
    schedule: &Schedule,
    ops: SocketAddr,
    mut next: watch::Receiver<Option<DateTime<Utc>>>,
) -> impl Future<Output = ()> + use<> {
    let (sweep, key) = (sweep.clone(), format!("{PREFIX}{}", sweep.instance));
    let (schedule, timezone) = schedule.written();
    let page = format!("http://{ops}/");
    async move {
        // The first time it is told at once, later each minute and whenever it changes.
        while !matches!(tokio::time::timeout(AGAIN, next.changed()).await, Ok(Err(_))) {
            let Some(next_at) = *next.borrow_and_update() else { continue };
            let registration = Registration {
                next_at,
                schedule: schedule.clone(),
                timezone: timezone.to_owned(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                page: page.clone(),
            };
            say(&sweep, &key, Some(&registration)).await;
            tokio::time::sleep(NOT_SOONER).await;
        }
        say(&sweep, &key, None).await;
    }
}

/// Says it, or takes back what was said.
async fn say(sweep: &Sweep, key: &str, registration: Option<&Registration>) {
    let work = async {
        let client = questions(&sweep.connect).connect().await?;
        let said = async {
            let own = sweep.own_tables(&client).await?;
            let Some(registration) = registration else {
                return state::remove(&client, &own, key).await;
            };
            state::put(&client, &own, key, &serde_json::to_value(registration).unwrap_or_default())
                .await?;
            state::forget_old(&client, &own, PREFIX, "next_at").await.map(drop)
        };
        said.await.map_err(|error| ConnectError::Connect(chain(&error)))
    };
    match tokio::time::timeout(WITHIN, work).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::debug!(event = "next_run_not_stored", %error, "time of the next run not stored in reaper_state");
        }
        Err(_) => {
            tracing::debug!(
                event = "next_run_store_timeout",
                "time of the next run not stored in reaper_state in time"
            );
        }
    }
}
