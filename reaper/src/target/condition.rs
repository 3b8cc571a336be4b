//! Resolves the condition of a target, `where`. The server parses the condition once and converts
//! it back to text; statements contain only this text.
//!
//! 1. In a transaction that is rolled back, a temporary view with the condition is created. The
//!    configured search path is in effect, so that the names in the condition have the same meaning
//!    as in the application.
//! 2. The server returns the definition of the view as text, with only `pg_catalog` on the search
//!    path. The text contains a complete expression, in which names are qualified with their
//!    schemas, and columns with an alias. A condition such as `true) GROUP BY (t.id` is detected,
//!    because it changes other parts of the view.
//! 3. [`qualify`] adds the schemas of operators and functions. To verify that the result has the
//!    same meaning, the server parses it as a second view. The server must return the same text for
//!    this view, except that the cast of an array constructor may have moved to the elements.
//!
//! The condition is not evaluated in these steps, because creating a view only parses it.

mod array_casts;
mod qualify;
mod tokens;

use std::sync::Arc;
use std::time::{Duration, Instant};

use pg::error_text::{chain, escaped};
use pg::owners::trusted;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Error};

use array_casts::moved_to_elements;
use qualify::qualified;

use crate::connection::db_error::{Bound, DbError};
use crate::target::name::{Ident, TableName};

/// The name of a temporary view without the condition. The next two constants are the names of
/// views with the condition: as configured, and as written out by the server.
const PLAIN: &str = "session_reaper_plain";
const CONFIGURED: &str = "session_reaper_configured";
const WRITTEN: &str = "session_reaper_written";

/// A second relation in FROM. If FROM has two relations, every version of PostgreSQL qualifies each
/// column with the alias of its relation.
const SECOND_RELATION: &str = "(SELECT) AS session_reaper_beside";

/// How long to wait for a lock on a table, and the delay after each `lock_timeout`. A migration may
/// hold such a lock for a few seconds.
const WAIT_FOR_LOCK: Duration = Duration::from_secs(6);
const BACKOFF: Duration = Duration::from_millis(250);

/// The highest number of statements that resolving a condition takes without retries.
pub(crate) const READ_STATEMENTS: usize = 21;

const TEXTS: &str =
    "SELECT v.relname::pg_catalog.text, pg_catalog.pg_get_viewdef(v.oid) FROM pg_catalog.pg_class v
    WHERE v.relnamespace OPERATOR(pg_catalog.=) pg_catalog.pg_my_temp_schema()";

/// A condition that the server has parsed and converted back to text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ResolvedCondition(Arc<Resolved>);

#[derive(Debug, PartialEq, Eq)]
struct Resolved {
    sql: String,
    /// The condition without the schema `pg_catalog`, for messages.
    shown: String,
    reads: Vec<Relation>,
    foreign: Vec<ForeignObject>,
    columns: Vec<(u32, Ident)>,
}

/// A relation that a condition reads in a sub-select.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Relation {
    pub(crate) oid: u32,
    /// The name with its schema, as in the condition.
    pub(crate) name: TableName,
}

/// An object in the condition that belongs to an untrusted role. Its code runs when the condition
/// is evaluated, with privileges of the reaper that this role does not have otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ForeignObject {
    /// The object, as PostgreSQL describes it.
    pub(crate) what: String,
    pub(crate) owner: String,
}

/// The result of resolving a condition.
pub(crate) enum Resolution {
    Condition(ResolvedCondition),
    /// The condition cannot be used. Contains the reason and a remedy.
    Refused(String, Option<String>),
    /// Another session held a lock on a table in the condition for too long.
    Locked(Bound),
}

impl ResolvedCondition {
    /// Returns a `boolean` expression on the row `t` that is valid when enclosed in parentheses.
    pub(crate) fn sql(&self) -> &str {
        &self.0.sql
    }

    /// Returns a condition that is true or false, and never null. The expression is inside a CASE,
    /// so that the planner cannot use it for an index scan or a join. Only the key range then
    /// determines which rows are read, and the expression is evaluated for each of them.
    pub(crate) fn case(&self) -> String {
        format!("CASE WHEN (\n{}\n) THEN true ELSE false END", self.sql())
    }

    /// Returns the expression without the schema `pg_catalog`, for messages.
    pub(crate) fn shown(&self) -> &str {
        &self.0.shown
    }

    /// Returns the relations that the sub-selects of the condition read, except the table of the
    /// target.
    pub(crate) fn reads(&self) -> &[Relation] {
        &self.0.reads
    }

    /// Returns the columns that the condition reads, each with the oid of its relation: the
    /// target's table or a relation in a sub-select.
    pub(crate) fn columns(&self) -> &[(u32, Ident)] {
        &self.0.columns
    }

    /// Returns the objects in the condition that belong to untrusted roles.
    pub(crate) fn foreign(&self) -> &[ForeignObject] {
        &self.0.foreign
    }

    /// Returns a condition that has not been resolved by a server, for tests.
    #[cfg(test)]
    pub(crate) fn unseen(sql: &str) -> Self {
        let (reads, foreign, columns) = (Vec::new(), Vec::new(), Vec::new());
        Self(Arc::new(Resolved {
            sql: sql.to_owned(),
            shown: sql.to_owned(),
            reads,
            foreign,
            columns,
        }))
    }
}

/// Resolves `condition` for a row of `table`, whose oid is `oid`. `client` must use the configured
/// search path, and nothing else may use the client in the meantime.
pub(crate) async fn resolve(
    client: &Client,
    table: &TableName,
    oid: u32,
    condition: &str,
) -> Result<Resolution, Error> {
    let began = Instant::now();
    loop {
        client.batch_execute("BEGIN").await?;
        let read = read(client, table, oid, condition).await;
        // After a lost connection, there is no transaction to roll back.
        let ended = client.batch_execute("ROLLBACK").await;
        let error = match read {
            Ok(resolution) => return ended.map(|()| resolution),
            Err(error) => error,
        };
        match DbError::of(&error) {
            DbError::Lost(_) | DbError::Pooler => return Err(error),
            DbError::Timeout(Bound::Lock) if began.elapsed() < WAIT_FOR_LOCK => {
                tokio::time::sleep(BACKOFF).await;
            }
            DbError::Timeout(bound) => return Ok(Resolution::Locked(bound)),
            DbError::Conflict(_)
            | DbError::Gone(_)
            | DbError::Changed(_)
            | DbError::Rejected(_)
            | DbError::Other(_) => {
                return refused(client, &error).await;
            }
        }
    }
}

async fn read(
    client: &Client,
    table: &TableName,
    oid: u32,
    condition: &str,
) -> Result<Resolution, Error> {
    let view = |name: &str, rest: &str| {
        format!(
            "CREATE TEMPORARY VIEW {name} AS SELECT true AS ok FROM ONLY {table} t, {SECOND_RELATION}{rest}"
        )
    };
    client.query_typed(&view(PLAIN, ""), &[]).await?;
    // In the extended protocol, a text can contain only one statement.
    client.query_typed(&view(CONFIGURED, &format!(" WHERE (\n{condition}\n)")), &[]).await?;
    let texts = texts(client).await?;
    let Some(sql) = expression(&texts, CONFIGURED) else {
        return Ok(Resolution::Refused("it must be a single expression".to_owned(), None));
    };
    let needed = needed(client, CONFIGURED, oid).await?;
    let columns = columns(client, CONFIGURED).await?;
    let moved = moved_to_elements(sql);
    // Also try the text without the added schemas, because some expressions do not allow a schema
    // everywhere.
    for again in [qualified(sql), sql.to_owned()] {
        client.batch_execute("SAVEPOINT again").await?;
        match client.query_typed(&view(WRITTEN, &format!(" WHERE (\n{again}\n)")), &[]).await {
            Ok(_) => {}
            Err(error)
                if matches!(DbError::of(&error), DbError::Other(_) | DbError::Rejected(_)) =>
            {
                client.batch_execute("ROLLBACK TO again").await?;
                continue;
            }
            Err(error) => return Err(error),
        }
        let texts = self::texts(client).await?;
        if expression(&texts, WRITTEN).is_some_and(|written| written == sql || written == moved)
            && self::needed(client, WRITTEN, oid).await? == needed
        {
            let (reads, foreign) = needed;
            return Ok(Resolution::Condition(ResolvedCondition(Arc::new(Resolved {
                sql: again,
                shown: sql.to_owned(),
                reads,
                foreign,
                columns,
            }))));
        }
        client.batch_execute("ROLLBACK TO again").await?;
    }
    Ok(Resolution::Refused(
        format!("its meaning changes when its names have their schemas: {sql}"),
        None,
    ))
}

/// Returns the names and definitions of all views. The definitions are written with only
/// `pg_catalog` on the search path.
async fn texts(client: &Client) -> Result<Vec<(String, String)>, Error> {
    client.batch_execute("SAVEPOINT configured; SET LOCAL search_path = pg_catalog").await?;
    let rows = client.query_typed(TEXTS, &[]).await?;
    client.batch_execute("ROLLBACK TO configured").await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
}

/// Returns the text after WHERE in the definition of the view `name`. Returns `None` if the
/// definition differs from that of the plain view in anything else.
fn expression<'a>(texts: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let of = |name: &str| texts.iter().find(|(found, _)| found == name)?.1.strip_suffix(';');
    let condition = of(name)?.strip_prefix(of(PLAIN)?)?.trim_start().strip_prefix("WHERE")?;
    // The server begins a new line before a CASE.
    condition.starts_with([' ', '\n']).then(|| condition.trim_start())
}

/// Returns the columns that a view reads. References to whole rows are not included.
async fn columns(client: &Client, view: &str) -> Result<Vec<(u32, Ident)>, Error> {
    const COLUMNS: &str = "SELECT DISTINCT a.attrelid, a.attname::pg_catalog.text
        FROM pg_catalog.pg_class v
        JOIN pg_catalog.pg_rewrite w ON w.ev_class OPERATOR(pg_catalog.=) v.oid
        JOIN pg_catalog.pg_depend d ON d.objid OPERATOR(pg_catalog.=) w.oid
            AND d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_rewrite'::pg_catalog.regclass::pg_catalog.oid
            AND d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass::pg_catalog.oid
            AND d.refobjid OPERATOR(pg_catalog.<>) v.oid
        JOIN pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) d.refobjid
            AND a.attnum::pg_catalog.int4 OPERATOR(pg_catalog.=) d.refobjsubid
        WHERE v.relname OPERATOR(pg_catalog.=) $1::pg_catalog.name
            AND v.relnamespace OPERATOR(pg_catalog.=) pg_catalog.pg_my_temp_schema()
        ORDER BY 1, 2";
    let rows = client.query_typed(COLUMNS, &[(&view, Type::TEXT)]).await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, Ident::new(row.try_get::<_, String>(1)?)))).collect()
}

/// Returns the relations that a view reads, and the untrusted objects whose code runs when the view
/// is read.
async fn needed(
    client: &Client,
    view: &str,
    table: u32,
) -> Result<(Vec<Relation>, Vec<ForeignObject>), Error> {
    let owner = "ARRAY (SELECT c.relowner FROM pg_catalog.pg_class c WHERE c.oid OPERATOR(pg_catalog.=) $2)";
    let sql = include_str!("condition.sql").replace("{trusted}", &trusted(owner));
    let (mut reads, mut foreign) = (Vec::new(), Vec::new());
    for row in client.query_typed(&sql, &[(&view, Type::TEXT), (&table, Type::OID)]).await? {
        let (what, owner, trusted): (String, String, bool) =
            (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        if let Some(oid) = row.try_get::<_, Option<u32>>(3)? {
            let (schema, name): (String, String) = (row.try_get(4)?, row.try_get(5)?);
            reads.push(Relation {
                oid,
                name: TableName { schema: Some(Ident::new(schema)), name: Ident::new(name) },
            });
        }
        if !trusted {
            foreign.push(ForeignObject { what, owner });
        }
    }
    Ok((reads, foreign))
}

/// Returns why the server rejected a condition, with a remedy if there is one.
async fn refused(client: &Client, error: &Error) -> Result<Resolution, Error> {
    const MAY: &str = "SELECT pg_catalog.has_database_privilege(pg_catalog.current_database(), 'TEMPORARY'),
        pg_catalog.format('GRANT TEMPORARY ON DATABASE %I TO %I', pg_catalog.current_database(), CURRENT_USER)";
    const TEMPORARY_VIEW: &str =
        "parsing `where` requires creating a temporary view, which is rolled back";
    // The message may quote the condition, but does not quote rows.
    let why = error.as_db_error().map_or_else(|| chain(error), |server| escaped(server.message()));
    if error.code() == Some(&SqlState::READ_ONLY_SQL_TRANSACTION) {
        return Ok(Resolution::Refused(
            format!("{TEMPORARY_VIEW}, but this server or role is read-only: {why}"),
            None,
        ));
    }
    if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE)
        && let Some(row) = client.query_typed(MAY, &[]).await?.first()
        && !row.try_get::<_, bool>(0)?
    {
        return Ok(Resolution::Refused(format!("{TEMPORARY_VIEW}: {why}"), Some(row.try_get(1)?)));
    }
    Ok(Resolution::Refused(why, None))
}
