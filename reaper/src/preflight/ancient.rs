//! Checks for times before the year 2000 in a due column. Such a time usually means that the row
//! never expires.

use pg::error_text::chain;
use tokio_postgres::Error;

use super::finding::{Code, Finding};
use super::pass::Walk;
use crate::connection::auxiliary::AuxiliaryConnection;
use crate::connection::db_error::DbError;
use crate::target::Ancient;

impl Walk<'_> {
    /// Reads the first entry of the index. The target is unsafe if the time in this entry is before
    /// the year 2000 and the configuration does not define what such a time means.
    ///
    /// If the statement times out, there is no finding. This is safe, because every statement of
    /// such a target excludes times before the year 2000.
    pub(super) async fn ancient(
        &self,
        auxiliary: &AuxiliaryConnection,
    ) -> Result<Option<Finding>, Error> {
        if self.subject.target.ancient != Ancient::Refuse {
            return Ok(None);
        }
        let pass = self.pass.written();
        let Some(query) = pass.ancient() else { return Ok(None) };
        let oldest = match auxiliary.of_target(&query).await {
            Ok(Some(row)) => row.text(0).unwrap_or_default().to_owned(),
            Ok(None) => return Ok(None),
            Err(error) if matches!(DbError::of(&error), DbError::Timeout(_)) => {
                let table = self.table.name.quoted();
                tracing::debug!(
                    event = "oldest_time_unknown",
                    table,
                    error = chain(&error),
                    "oldest time not read"
                );
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let (table, column) = (self.table.name.quoted(), self.pass.due.column.name.quoted());
        Ok(Some(Finding::new(
            Code::Ancient,
            format!(
                "the oldest {column} of {table} is {oldest}, before the year 2000; such a time usually means that the row \
                 never expires"
            ),
            format!(
                "set ancient = \"keep\" in the [[target]] of {} to keep such rows, or ancient = \"due\" to delete them",
                self.subject.target.table.quoted()
            ),
        )))
    }
}
