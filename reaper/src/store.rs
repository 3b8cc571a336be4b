//! The reaper's two tables: `reaper_runs`, the run history, and `reaper_state`, which all reapers
//! of a database share. Both are optional.

pub mod migrate;
pub mod own_tables;
pub mod pause;
pub mod runs;
pub mod state;

use tokio_postgres::{Error, Row};

/// Reads rows of the two tables. A row that this program cannot read, for example because another
/// program has set one of its times to `-infinity`, is skipped.
pub(crate) fn readable<T>(rows: &[Row], read: impl Fn(&Row) -> Result<T, Error>) -> Vec<T> {
    let read = |row| match read(row) {
        Ok(value) => Some(value),
        Err(error) => {
            tracing::debug!(event = "stored_row_unreadable", %error, "row skipped");
            None
        }
    };
    rows.iter().filter_map(read).collect()
}
