//! The timeouts of the statements of a run, and the settings of both connections.

use std::time::Duration;

use pg::error_text::chain;
use tokio_postgres::Client;

/// The maximum duration of a statement, and of its wait for a lock.
#[derive(Clone, Copy, Debug)]
pub struct StatementBounds {
    /// `statement_timeout`.
    pub statement: Duration,
    /// `lock_timeout`.
    pub lock: Duration,
}

/// The settings of both connections.
///
/// These settings make the server read a range of keys through an index, even if the statistics are
/// outdated because the table was just emptied or filled: an index scan stops at the end of the
/// range, whereas other plans may read the whole table.
///
/// The cost of reading random pages is low for the same reason. With the default, consider a table
/// whose primary key contains the due column but does not begin with it: the server would read the
/// whole index of the primary key for each chunk, because this index is in the order of the table.
/// A tablespace with cost settings of its own overrides these settings for its indexes.
const COMMON: &str = "SET TimeZone = 'UTC'; SET DateStyle = 'ISO'; SET enable_seqscan = off; SET enable_bitmapscan = off; \
     SET seq_page_cost = 1; SET random_page_cost = 0.1; SET max_parallel_workers_per_gather = 0; SET jit = off";

/// Returns [`COMMON`] with the timeouts.
pub(crate) fn common(bounds: StatementBounds) -> String {
    let (statement, lock) = (bounds.statement.as_millis(), bounds.lock.as_millis());
    format!("{COMMON}; SET statement_timeout = {statement}; SET lock_timeout = {lock}")
}

/// Makes the server check, while it executes a statement, whether the client is still connected. In
/// a test, a reaper was killed at the beginning of a statement of 3 s. Without this setting, the
/// statement ran to completion and was committed. With it, the statement was rolled back after 0.2
/// s.
const CHECK_CLIENT: &str = "SET client_connection_check_interval = '200ms'";

/// Applies [`CHECK_CLIENT`]. Not every platform supports this setting. If it is not supported,
/// `statement_timeout` ends the statements of a killed reaper.
pub(crate) async fn check_client(client: &Client) {
    if let Err(error) = client.batch_execute(CHECK_CLIENT).await {
        tracing::debug!(
            event = "client_check_unavailable",
            error = chain(&error),
            "server does not support client_connection_check_interval"
        );
    }
}
