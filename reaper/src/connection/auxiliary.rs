//! The auxiliary connection of a run, for the catalog, for counts and for the history.
//!
//! The search path of this connection is `pg_catalog, pg_temp`. Only statements on the tables of a
//! target use the configured search path, because they may call functions of the application (in
//! `where` or in a policy).

use std::str::FromStr;
use std::sync::Arc;

use crate::store::own_tables::OwnTables;
use pg::connect::{ConnectError, ConnectOptions};
use pg::error_text::chain;
use pg::owners::{self, Named};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Error, Row, SimpleQueryMessage};

use crate::connection::deadline::Deadline;
use crate::connection::prepared::Prepared;
use crate::connection::statement_bounds::{StatementBounds, check_client, common};
use crate::sql::query::{Query, Text, Value as _};
use crate::sql::{Counted, Cursor};

/// A search path that contains no schema in which another role can create objects.
const PATH: &str = "SET search_path = pg_catalog, pg_temp";

/// Makes the server plan each prepared statement only once. The plans of the catalog queries do not
/// depend on their parameters, and statements on the tables of a target have no parameters.
const GENERIC: &str = "SET plan_cache_mode = force_generic_plan";

/// The connection for the catalog, counts and the history.
#[derive(Clone)]
pub(crate) struct AuxiliaryConnection {
    pub(crate) client: Arc<Client>,
    /// The same connection, for queries that are executed repeatedly.
    pub(crate) prepared: Arc<Prepared>,
    pub(crate) deadline: Deadline,
    /// The reaper's own tables.
    pub(crate) own: Arc<OwnTables>,
    /// The trusted roles: code in objects that belong to these roles may run with the privileges of
    /// the reaper.
    trusted: Arc<[u32]>,
    /// The search path that is configured for the role.
    path: Arc<str>,
    /// Whether the connection goes through a pooler. If it does, no settings are changed, because
    /// they would remain in effect for other clients.
    pooled: bool,
}

impl AuxiliaryConnection {
    /// Reads everything that depends on the configured search path, and then sets the search path
    /// to `pg_catalog, pg_temp`. `targets` are the configured tables.
    pub(crate) async fn new(
        client: Client,
        deadline: Deadline,
        bounds: StatementBounds,
        targets: &[Named],
        pooled: bool,
    ) -> Result<Self, Error> {
        let read = async {
            let path =
                client.query_typed("SELECT pg_catalog.current_setting('search_path')", &[]).await?;
            let path: String = path.first().map_or(Ok(String::new()), |row| row.try_get(0))?;
            let trusted = owners::read_trusted(&client, targets).await?;
            let own = OwnTables::find(&client, &trusted).await?;
            Ok((path, trusted, own))
        };
        let (path, trusted, own) = deadline.with(3, read).await?;
        let client = Arc::new(client);
        let auxiliary = Self {
            prepared: Arc::new(Prepared::new(Arc::clone(&client), pooled)),
            client,
            deadline,
            own: Arc::new(own),
            trusted: trusted.into(),
            path: path.into(),
            pooled,
        };
        auxiliary.set(bounds).await?;
        Ok(auxiliary)
    }

    async fn set(&self, bounds: StatementBounds) -> Result<(), Error> {
        if self.pooled {
            return Ok(());
        }
        let settings = format!("{}; {PATH}; {GENERIC}", common(bounds));
        let set = async {
            self.client.batch_execute(&settings).await?;
            check_client(&self.client).await;
            Ok(())
        };
        self.deadline.with(2, set).await
    }

    /// Opens a new auxiliary connection after the previous one was lost, for example to record the
    /// end of the run.
    pub(crate) async fn reopen(
        &self,
        connect: &ConnectOptions,
        bounds: StatementBounds,
    ) -> Result<Self, ConnectError> {
        let (client, driver) = connect.connect_with_driver().await?;
        let deadline = self.deadline.replaced(driver);
        let client = Arc::new(client);
        let prepared = Arc::new(Prepared::new(Arc::clone(&client), self.pooled));
        let another = Self { client, prepared, deadline, ..self.clone() };
        another.set(bounds).await.map_err(|error| ConnectError::Connect(chain(&error)))?;
        Ok(another)
    }

    /// Resets the settings of the connection, in case an undetected pooler gives its server process
    /// to another client.
    pub(crate) async fn release(&self) {
        if !self.pooled
            && let Err(error) = self.deadline.with(1, self.client.batch_execute("RESET ALL")).await
        {
            tracing::debug!(
                event = "settings_not_reset",
                error = chain(&error),
                "settings not reset; they end with the connection"
            );
        }
    }

    pub(crate) async fn rows(
        &self,
        text: &str,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, Error> {
        self.deadline.with(1, self.prepared.rows(text, params)).await
    }

    pub(crate) async fn row(
        &self,
        text: &str,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<Option<Row>, Error> {
        self.deadline.with(1, self.prepared.row(text, params)).await
    }

    /// Returns the trusted roles as a constant of the type `oid[]`. Code in objects that belong to
    /// these roles may run with the privileges of the reaper.
    pub(crate) fn trusted(&self) -> String {
        let oids = self.trusted.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
        format!("'{{{oids}}}'::pg_catalog.oid[]")
    }

    /// Returns the first row of a statement on a target. The statement must contain its values as
    /// literals.
    pub(crate) async fn of_target(&self, query: &Query<'_>) -> Result<Option<TextRow>, Error> {
        debug_assert!(
            query.params.is_empty(),
            "the statement must contain its values as literals: {}",
            query.text
        );
        Ok(self.on_path(&query.text).await?.into_iter().next())
    }

    /// Returns the rows of a statement that runs with the configured search path. The statement
    /// that sets the search path is sent in the same message and runs in the same transaction, so
    /// other statements on this connection are not affected.
    pub(crate) async fn on_path(&self, text: &str) -> Result<Vec<TextRow>, Error> {
        let both = format!("{}; {text}", self.local_path());
        let answer = self.deadline.with(1, self.client.simple_query(&both)).await?;
        Ok(after(&answer, 1).collect())
    }

    /// Returns SQL that sets the configured search path until the transaction ends.
    pub(crate) fn local_path(&self) -> String {
        format!(
            "SELECT pg_catalog.set_config('search_path', {}, true)",
            Text(self.path.to_string()).literal()
        )
    }
}

/// Skips the results of the first `statements` statements of a response, and returns the rows of
/// all other statements.
pub(crate) fn after(
    answer: &[SimpleQueryMessage],
    statements: usize,
) -> impl Iterator<Item = TextRow> + '_ {
    let mut ended = 0;
    answer.iter().filter_map(move |message| match message {
        SimpleQueryMessage::CommandComplete(_) => {
            ended += 1;
            None
        }
        SimpleQueryMessage::Row(row) if ended >= statements => {
            let value = |column| row.try_get(column).ok().flatten().map(str::to_owned);
            Some(TextRow((0..row.len()).map(value).collect()))
        }
        _ => None,
    })
}

/// A row whose values are in the text format of PostgreSQL.
pub(crate) struct TextRow(Vec<Option<String>>);

impl TextRow {
    /// Returns the text of a value, or `None` for null.
    pub(crate) fn text(&self, column: usize) -> Option<&str> {
        self.0.get(column)?.as_deref()
    }

    /// Parses a value. Returns `None` for null and for a value that cannot be parsed.
    pub(crate) fn number<T: FromStr>(&self, column: usize) -> Option<T> {
        self.text(column)?.parse().ok()
    }

    /// Returns the result of [`crate::sql::PassSql::probe`]: the position at which a key range
    /// ends.
    pub(crate) fn cursor(self) -> Cursor {
        self.0.into_iter().flatten().map(Text).collect()
    }

    /// Returns the result of [`crate::sql::PassSql::count`].
    pub(crate) fn counted(&self) -> Option<Counted> {
        let seen = self.number(1)?;
        // If the pass has no filter, every row that was read may be deleted.
        let all = if self.0.len() > 3 { self.number(3)? } else { seen };
        Some(Counted { fresh: self.number(0)?, all, seen, oldest: self.number(2) })
    }
}
