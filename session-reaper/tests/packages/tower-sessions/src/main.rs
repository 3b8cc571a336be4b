//! Sessions of a tower application. Both commands print a JSON object. `make HOURS…` creates the
//! table with the store's own `migrate`, and creates one session for each number of hours, after
//! which the session expires. The object maps these numbers to the session IDs. The object that
//! `read ID…` prints maps session IDs to the stored values.

use std::sync::Arc;

use serde_json::{Map, Value};
use sqlx::PgPool;
use time::{Duration, OffsetDateTime};
use tower_sessions_core::{Expiry, Session};
use tower_sessions_sqlx_store::PostgresStore;

type Failure = Box<dyn std::error::Error>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let store = PostgresStore::new(PgPool::connect(&std::env::var("DATABASE_URL")?).await?);
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let answer = match arguments.split_first() {
        Some((command, hours)) if command == "make" => {
            store.migrate().await?;
            make(&store, hours).await?
        }
        Some((command, ids)) if command == "read" => read(&store, ids).await?,
        _ => return Err("make HOURS… or read ID…".into()),
    };
    println!("{}", Value::Object(answer));
    Ok(())
}

async fn make(store: &PostgresStore, hours: &[String]) -> Result<Map<String, Value>, Failure> {
    let mut made = Map::new();
    for hours in hours {
        let expiry =
            Expiry::AtDateTime(OffsetDateTime::now_utc() + Duration::hours(hours.parse()?));
        let session = Session::new(None, Arc::new(store.clone()), Some(expiry));
        session.insert("hours", hours).await?;
        session.save().await?;
        let id = session.id().ok_or("the saved session has no ID")?;
        made.insert(hours.clone(), Value::String(id.to_string()));
    }
    Ok(made)
}

async fn read(store: &PostgresStore, ids: &[String]) -> Result<Map<String, Value>, Failure> {
    let mut found = Map::new();
    for id in ids {
        let session = Session::new(Some(id.parse()?), Arc::new(store.clone()), None);
        found.insert(id.clone(), session.get_value("hours").await?.unwrap_or_default());
    }
    Ok(found)
}
