//! What reapers of one database share, by key. Like the history it may have no table: see [`crate::runs::is_absent`].

use serde_json::Value;
use tokio_postgres::{Client, Error};

/// What stands under a key.
pub async fn get(client: &Client, key: &str) -> Result<Option<Value>, Error> {
    let row = client.query_opt("SELECT value FROM reaper_state WHERE key = $1", &[&key]).await?;
    Ok(row.map(|row| row.get(0)))
}

/// Puts something under a key that has nothing yet; `false` when it has.
pub async fn put_once(client: &Client, key: &str, value: &Value) -> Result<bool, Error> {
    const SQL: &str = "INSERT INTO reaper_state (key, value) VALUES ($1, $2) ON CONFLICT (key) DO NOTHING";
    Ok(client.execute(SQL, &[&key, value]).await? > 0)
}
