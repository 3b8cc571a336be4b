//! State that all reapers of a database share, as key-value pairs. Like the run history, the table
//! is optional: [`crate::store::runs::is_absent`] detects that it does not exist.

use chrono::{DateTime, Utc};
use serde_json::Value;
use tokio_postgres::{Client, Error};

use crate::store::own_tables::OwnTables;
use crate::store::readable;

/// Returns the value of a key.
pub async fn get(client: &Client, own: &OwnTables, key: &str) -> Result<Option<Value>, Error> {
    let sql = format!(
        "SELECT value FROM {} WHERE key OPERATOR(pg_catalog.=) $1::pg_catalog.text",
        own.state()
    );
    client.query_opt(&sql, &[&key]).await?.map(|row| row.try_get(0)).transpose()
}

/// Sets a key, and replaces any previous value.
pub async fn put(client: &Client, own: &OwnTables, key: &str, value: &Value) -> Result<(), Error> {
    let sql = format!(
        "INSERT INTO {} (key, value) VALUES ($1, $2)
         ON CONFLICT (key) DO UPDATE SET value = excluded.value, updated_at = pg_catalog.now()",
        own.state()
    );
    client.execute(&sql, &[&key, value]).await.map(drop)
}

/// Deletes a key.
pub async fn remove(client: &Client, own: &OwnTables, key: &str) -> Result<(), Error> {
    let sql =
        format!("DELETE FROM {} WHERE key OPERATOR(pg_catalog.=) $1::pg_catalog.text", own.state());
    client.execute(&sql, &[&key]).await.map(drop)
}

/// Returns at most `count` keys that begin with `prefix`, in order, with their values and the times
/// when they were last set.
pub async fn all(
    client: &Client,
    own: &OwnTables,
    prefix: &str,
    count: i64,
) -> Result<Vec<(String, Value, DateTime<Utc>)>, Error> {
    let sql = format!(
        "SELECT key, value, updated_at FROM {} WHERE pg_catalog.starts_with(key, $1::pg_catalog.text) ORDER BY key LIMIT $2",
        own.state()
    );
    let rows = client.query(&sql, &[&prefix, &count]).await?;
    Ok(readable(&rows, |row| Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?))))
}

/// Deletes old keys that begin with `prefix`. A key is old if the time in the member `time` of its
/// value is more than a day in the past. Returns the number of deleted keys.
pub async fn forget_old(
    client: &Client,
    own: &OwnTables,
    prefix: &str,
    time: &str,
) -> Result<u64, Error> {
    let sql = format!(
        "DELETE FROM {}
         WHERE pg_catalog.starts_with(key, $1::pg_catalog.text)
             AND (value OPERATOR(pg_catalog.->>) $2::pg_catalog.text)::timestamp with time zone OPERATOR(pg_catalog.<)
                 (pg_catalog.now() OPERATOR(pg_catalog.-) interval '1 day')",
        own.state()
    );
    client.execute(&sql, &[&prefix, &time]).await
}

/// Sets the value of a key that has none. Returns `false` if the key already has a value.
pub async fn put_once(
    client: &Client,
    own: &OwnTables,
    key: &str,
    value: &Value,
) -> Result<bool, Error> {
    let sql = format!(
        "INSERT INTO {} (key, value) VALUES ($1, $2) ON CONFLICT (key) DO NOTHING",
        own.state()
    );
    Ok(client.execute(&sql, &[&key, value]).await? > 0)
}
