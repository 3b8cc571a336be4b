//! A pause: somebody's word that no reaper of this database is to delete for a while. It stands in
//! `reaper_state`, so that every one obeys.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tokio_postgres::{Client, Error};

use crate::own::OwnTables;
use crate::state;

const KEY: &str = "pause";

/// As it stands under the key `pause`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// When it ends by itself, by the database's clock.
    pub until: DateTime<Utc>,
    /// What for, in somebody's words.
    #[serde(default)]
    pub why: Option<String>,
    /// From which host and process.
    #[serde(default)]
    pub by: Option<String>,
    /// When it was set.
    #[serde(default)]
    pub since: Option<DateTime<Utc>>,
}

/// What stands there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PauseLookup {
    /// No pause, or one that has ended.
    None,
    /// One.
    Pause(Pause),
    /// Something that was not written by us; says what.
    Unreadable(String),
}

/// The pause that is set, if one is.
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

/// Sets one for so long from now on, instead of any other.
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

/// Takes it away; `false` when there was none, or one that had ended by itself.
pub async fn clear(client: &Client, own: &OwnTables) -> Result<bool, Error> {
    let was_set = get(client, own).await? != PauseLookup::None;
    state::remove(client, own, KEY).await?;
    Ok(was_set)
}
