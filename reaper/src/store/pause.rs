//! The pause, during which no reaper of this database deletes anything. It is stored in
//! `reaper_state`, so that all reapers observe the pause.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tokio_postgres::{Client, Error};

use crate::store::own_tables::OwnTables;
use crate::store::state;

const KEY: &str = "pause";

/// The value of the key `pause` in `reaper_state`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// When the pause ends by itself, by the database's clock.
    pub until: DateTime<Utc>,
    /// The reason, as given by the user.
    #[serde(default)]
    pub why: Option<String>,
    /// The host and process that set the pause.
    #[serde(default)]
    pub by: Option<String>,
    /// When the pause was set.
    #[serde(default)]
    pub since: Option<DateTime<Utc>>,
}

/// The result of reading the pause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PauseLookup {
    /// There is no pause, or it has ended.
    None,
    /// A pause is set.
    Pause(Pause),
    /// The value cannot be parsed, so it was not written by the reaper. Contains the error.
    Unreadable(String),
}

/// Reads the pause.
pub async fn get(client: &Client, own: &OwnTables) -> Result<PauseLookup, Error> {
    let sql = format!(
        "SELECT value, pg_catalog.now() FROM {} WHERE key OPERATOR(pg_catalog.=) $1::pg_catalog.text",
        own.state()
    );
    let row = client.query_opt(&sql, &[&KEY]).await?;
    let Some(row) = row else { return Ok(PauseLookup::None) };
    let now: DateTime<Utc> = row.get(1);
    Ok(match serde_json::from_value::<Pause>(row.get(0)) {
        Ok(pause) if pause.until <= now => PauseLookup::None,
        Ok(pause) => PauseLookup::Pause(pause),
        Err(error) => PauseLookup::Unreadable(error.to_string()),
    })
}

/// Sets a pause that starts now and lasts for `length`. The new pause replaces any other.
pub async fn set(
    client: &Client,
    own: &OwnTables,
    length: Duration,
    why: Option<&str>,
    by: &str,
) -> Result<Pause, Error> {
    let sql = format!(
        "INSERT INTO {} (key, value)
         VALUES ($1, pg_catalog.jsonb_build_object(
             'until', pg_catalog.now() OPERATOR(pg_catalog.+) pg_catalog.make_interval(secs => $2),
             'why', $3::pg_catalog.text, 'by', $4::pg_catalog.text, 'since', pg_catalog.now()))
         ON CONFLICT (key) DO UPDATE SET value = excluded.value, updated_at = pg_catalog.now()
         RETURNING pg_catalog.now()",
        own.state()
    );
    let now: DateTime<Utc> =
        client.query_one(&sql, &[&KEY, &length.as_secs_f64(), &why, &by]).await?.get(0);
    Ok(Pause {
        until: now + length,
        why: why.map(str::to_owned),
        by: Some(by.to_owned()),
        since: Some(now),
    })
}

/// Removes the pause. Returns `false` if there was none or it had already ended.
pub async fn clear(client: &Client, own: &OwnTables) -> Result<bool, Error> {
    let was_set = get(client, own).await? != PauseLookup::None;
    state::remove(client, own, KEY).await?;
    Ok(was_set)
}
