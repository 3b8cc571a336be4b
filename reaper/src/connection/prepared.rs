//! A connection on which each catalog query is prepared only once. A run executes such a query for
//! each of its tables, and planning the query takes longer than executing it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Error, Row, Statement};

/// A connection with its prepared statements.
pub(crate) struct Prepared {
    client: Arc<Client>,
    /// The statements by their text. `None` if the connection goes through a pooler, where a
    /// statement may not exist in the server process that executes it.
    statements: Option<Mutex<HashMap<String, Statement>>>,
}

impl Prepared {
    pub(crate) fn new(client: Arc<Client>, pooled: bool) -> Self {
        Self { client, statements: (!pooled).then(Mutex::default) }
    }

    /// Returns all rows of a query.
    pub(crate) async fn rows(
        &self,
        text: &str,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, Error> {
        let Some(statements) = &self.statements else {
            return self.client.query(text, params).await;
        };
        let known = locked(statements).get(text).cloned();
        if let Some(statement) = known {
            return self.client.query(&statement, params).await;
        }
        let statement = self.client.prepare(text).await?;
        locked(statements).insert(text.to_owned(), statement.clone());
        self.client.query(&statement, params).await
    }

    /// Returns the first row of a query.
    pub(crate) async fn row(
        &self,
        text: &str,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<Option<Row>, Error> {
        Ok(self.rows(text, params).await?.into_iter().next())
    }
}

/// Locks the statements. Poisoning is ignored, because the map is consistent even if a thread
/// panicked while it held the lock.
fn locked<T>(statements: &Mutex<T>) -> MutexGuard<'_, T> {
    statements.lock().unwrap_or_else(PoisonError::into_inner)
}
