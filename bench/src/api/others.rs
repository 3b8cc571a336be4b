//! Creates sessions of other accounts, so that requests use tables and indexes of a realistic size.

use anyhow::Result;
use tokio_postgres::Client;

use crate::server::connect;

const OTHERS: &str = include_str!("../../sql/api/others.sql");

/// Adds `rows` sessions to the database of an auth-api and updates the statistics. Without
/// statistics, the planner may keep a plan that was made for an empty table. If autovacuum is
/// disabled, nothing would replace such a plan.
pub(super) async fn fill(database_url: &str, rows: u64) -> Result<Client> {
    let client = connect(database_url).await?;
    client.batch_execute(&OTHERS.replace("{rows}", &rows.to_string())).await?;
    client.batch_execute("ANALYZE").await?;
    Ok(client)
}
