//! What reapers of one database share, by key. Like the history it may have no table: see [`crate::runs::is_absent`].

use chrono::{DateTime, Utc};
use serde_json::Value;
use tokio_postgres::{Client, Error};

/// What stands under a key.
pub async fn get(client: &Client, key: &str) -> Result<Option<Value>, Error> {
    let row = client.query_opt("SELECT value FROM reaper_state WHERE key = $1", &[&key]).await?;
    Ok(row.map(|row| row.get(0)))
}

/// Puts something under a key, whatever stands there.
pub async fn put(client: &Client, key: &str, value: &Value) -> Result<(), Error> {
    const SQL: &str = "INSERT INTO reaper_state (key, value) VALUES ($1, $2)
                       ON CONFLICT (key) DO UPDATE SET value = excluded.value, updated_at = now()";
    client.execute(SQL, &[&key, value]).await.map(drop)
}

/// Takes away what stands under a key.
pub async fn remove(client: &Client, key: &str) -> Result<(), Error> {
    client.execute("DELETE FROM reaper_state WHERE key = $1", &[&key]).await.map(drop)
}

/// What stands under the keys that begin with `prefix`, by key, and since when; `count` of them at the most.
pub async fn all(client: &Client, prefix: &str, count: i64) -> Result<Vec<(String, Value, DateTime<Utc>)>, Error> {
    const SQL: &str =
        "SELECT key, value, updated_at FROM reaper_state WHERE starts_with(key, $1) ORDER BY key LIMIT $2";
    let rows = client.query(SQL, &[&prefix, &count]).await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect())
}

/// Takes away what stands under keys that begin with `prefix` and whose member `time` is longer than a day ago.
pub async fn forget_old(client: &Client, prefix: &str, time: &str) -> Result<u64, Error> {
    const SQL: &str = "DELETE FROM reaper_state
                       WHERE starts_with(key, $1) AND (value ->> $2)::timestamptz < now() - interval '1 day'";
    client.execute(SQL, &[&prefix, &time]).await
}

/// Puts something under a key that has nothing yet; `false` when it has.
pub async fn put_once(client: &Client, key: &str, value: &Value) -> Result<bool, Error> {
    const SQL: &str = "INSERT INTO reaper_state (key, value) VALUES ($1, $2) ON CONFLICT (key) DO NOTHING";
    Ok(client.execute(SQL, &[&key, value]).await? > 0)
}
