//! Registers a daemon and the time of its next run in `reaper_state`, where `status` reads it.

use std::net::SocketAddr;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use pg::connect::ConnectError;
use pg::error_text::chain;
use reaper::state;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::schedule::Schedule;
use crate::short_queries::questions;
use reaper::Sweep;

/// The prefix of the keys of registrations in `reaper_state`. The instance follows the prefix.
pub const PREFIX: &str = "daemon:";

/// If the registered time of the next run is more than this long ago and no run of the daemon is
/// active, the daemon counts as dead.
pub const OVERDUE: TimeDelta = TimeDelta::minutes(2);

/// How often a daemon renews its registration. If the renewals stop, the daemon is no longer
/// listed.
const RENEW_EVERY: Duration = Duration::from_mins(1);

/// If a registration is older than this, the daemon counts as dead.
pub const SILENT: TimeDelta = TimeDelta::minutes(3);

/// The timeout for an update. A failed update is not retried, because the next update replaces it.
/// When the daemon stops, it waits for the removal of its registration.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Minimum interval between updates. Without it, a schedule with a run every second would cause an
/// update every second.
const NOT_SOONER: Duration = Duration::from_secs(1);

/// The registration of a daemon.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Registration {
    /// The time of the daemon's next run, by the clock of the daemon's host.
    pub next_at: DateTime<Utc>,
    /// The schedule, in the format of crontab(5).
    pub schedule: String,
    /// The time zone of the schedule.
    pub timezone: String,
    /// The longest random delay of a run after its scheduled time, in milliseconds. Earlier
    /// versions do not store it.
    #[serde(default)]
    pub jitter_ms: u64,
    /// The version of the program.
    pub version: String,
    /// The URL of the daemon's status page, as seen from the daemon's host.
    pub page: String,
}

/// Updates the registration after each change of `next`. Removes the registration when the sender
/// of `next` is dropped.
pub fn publish(
    sweep: &Sweep,
    (schedule, jitter): (&Schedule, Duration),
    ops: SocketAddr,
    mut next: watch::Receiver<Option<DateTime<Utc>>>,
) -> impl Future<Output = ()> + use<> {
    let (sweep, key) = (sweep.clone(), format!("{PREFIX}{}", sweep.instance));
    let (schedule, timezone) = schedule.written();
    let page = format!("http://{ops}/");
    async move {
        // The first update is immediate. Later updates follow each change of `next`; without a
        // change, there is an update every minute.
        while !matches!(tokio::time::timeout(RENEW_EVERY, next.changed()).await, Ok(Err(_))) {
            let Some(next_at) = *next.borrow_and_update() else { continue };
            let registration = Registration {
                next_at,
                schedule: schedule.clone(),
                timezone: timezone.to_owned(),
                jitter_ms: reaper::time::milliseconds(jitter),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                page: page.clone(),
            };
            store(&sweep, &key, Some(&registration)).await;
            tokio::time::sleep(NOT_SOONER).await;
        }
        store(&sweep, &key, None).await;
    }
}

/// Stores `registration`. If it is `None`, removes the stored registration.
async fn store(sweep: &Sweep, key: &str, registration: Option<&Registration>) {
    let work = async {
        let client = questions(&sweep.connect).connect().await?;
        let stored = async {
            let own = sweep.own_tables(&client).await?;
            let Some(registration) = registration else {
                return state::remove(&client, &own, key).await;
            };
            state::put(&client, &own, key, &serde_json::to_value(registration).unwrap_or_default())
                .await?;
            state::forget_old(&client, &own, PREFIX, "next_at").await.map(drop)
        };
        stored.await.map_err(|error| ConnectError::Connect(chain(&error)))
    };
    match tokio::time::timeout(TIMEOUT, work).await {
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
