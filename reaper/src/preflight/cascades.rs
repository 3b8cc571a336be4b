//! Finds cascades (deletions through foreign keys with `ON DELETE CASCADE`) that delete many rows,
//! and cascades that delete rows that a target excludes from deletion. These rows belong to the
//! target itself (through a self-reference or through several tables) or to another target.
//!
//! The database executes cascades itself. Cascades ignore `where`, `group` and the due time, and
//! the rows that they delete are not counted.

use tokio_postgres::Error;

use super::finding::{Code, Finding};
use crate::connection::auxiliary::AuxiliaryConnection;
use crate::target::Target;
use crate::target::name::{Ident, TableName};

/// A cascade is reported if a parent row has, on average, at least this many child rows. A chunk
/// (the rows that one transaction deletes) then deletes many times more rows than it counts.
const MANY_CHILDREN: u64 = 20;

/// Returns a cascade that leads from the tables `$1` to the tables `$2`, directly or through other
/// tables: if rows of `$1` are deleted, the cascade deletes rows of `$2`. A cascade to a
/// partitioned table also leads to each of its partitions.
const LEADING_TO: &str = "
    WITH RECURSIVE reached AS (
        SELECT pg_catalog.unnest($1::pg_catalog.oid[]) AS oid
        UNION
        SELECT next.oid FROM reached AS r CROSS JOIN LATERAL (
            SELECT k.conrelid AS oid FROM pg_catalog.pg_constraint AS k
            WHERE k.confrelid OPERATOR(pg_catalog.=) r.oid AND k.contype OPERATOR(pg_catalog.=) 'f'
                AND k.confdeltype OPERATOR(pg_catalog.=) 'c'
            UNION ALL
            SELECT i.inhrelid FROM pg_catalog.pg_inherits AS i
            JOIN pg_catalog.pg_class AS p ON p.oid OPERATOR(pg_catalog.=) i.inhparent AND p.relkind OPERATOR(pg_catalog.=) 'p'
            WHERE i.inhparent OPERATOR(pg_catalog.=) r.oid) AS next),
    wanted AS (
        SELECT pg_catalog.unnest($2::pg_catalog.oid[]) AS oid
        UNION
        SELECT i.inhparent FROM wanted AS w JOIN pg_catalog.pg_inherits AS i ON i.inhrelid OPERATOR(pg_catalog.=) w.oid
        JOIN pg_catalog.pg_class AS p ON p.oid OPERATOR(pg_catalog.=) i.inhparent AND p.relkind OPERATOR(pg_catalog.=) 'p')
    SELECT pg_catalog.format('%I', k.conname), n.nspname::pg_catalog.text, c.relname::pg_catalog.text
    FROM pg_catalog.pg_constraint AS k
    JOIN pg_catalog.pg_class AS c ON c.oid OPERATOR(pg_catalog.=) k.conrelid
    JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
    WHERE k.contype OPERATOR(pg_catalog.=) 'f' AND k.confdeltype OPERATOR(pg_catalog.=) 'c'
        AND EXISTS (SELECT FROM reached AS r WHERE r.oid OPERATOR(pg_catalog.=) k.confrelid)
        AND EXISTS (SELECT FROM wanted AS w WHERE w.oid OPERATOR(pg_catalog.=) k.conrelid)
    ORDER BY k.conparentid OPERATOR(pg_catalog.<>) 0, n.nspname, c.relname, k.conname LIMIT 1";

/// Returns the finding for a cascade from the table `parent` to the table `child`, whose `columns`
/// reference `parent`. `each` is the average number of rows of `child` for each row of `parent`.
/// Returns `None` if this number is small.
pub(super) fn large(child: &str, columns: &str, parent: &str, each: u64) -> Option<Finding> {
    (each >= MANY_CHILDREN).then(|| {
        Finding::new(
            Code::LargeCascade,
            format!(
                "{child} has about {each} rows for each row of {parent}, and the same statement deletes \
                 them: a chunk deletes that many times as many rows"
            ),
            format!(
                "delete these rows first: children = [{{ table = '{child}', column = '{columns}' }}]"
            ),
        )
    })
}

/// Returns the finding for a cascade from the tables `from` back to the target's tables `own`.
pub(super) async fn back_to_itself(
    auxiliary: &AuxiliaryConnection,
    target: &Target,
    from: &[u32],
    own: &[u32],
) -> Result<Option<Finding>, Error> {
    let Some((cascade, to)) = leading_to(auxiliary, from, own).await? else { return Ok(None) };
    let table = target.table.quoted();
    let what = format!(
        "{cascade} deletes more rows of {table} with each deleted row, whether or not they are due, and these rows are not counted"
    );
    let finding = if target.keeps_rows() {
        Finding::new(
            Code::SelfCascade,
            format!("{what}; the cascade ignores `where` and `group`"),
            format!(
                "change the foreign key to ON DELETE SET NULL or NO ACTION, or remove `where` and `group` from the [[target]] of {table}"
            ),
        )
    } else {
        Finding::new(
            Code::CascadeNotDue,
            what,
            "change the foreign key to ON DELETE SET NULL or NO ACTION, unless rows should be deleted with the row that they refer to",
        )
    };
    Ok(Some(Finding { cascades_to: Some(to), ..finding }))
}

/// Returns the finding for a cascade from the tables `from` to tables of other targets whose
/// `where` or `group` excludes rows from deletion.
pub(crate) async fn to_other_targets(
    auxiliary: &AuxiliaryConnection,
    from: &[u32],
    others: &[u32],
) -> Result<Option<Finding>, Error> {
    let Some((cascade, to)) = leading_to(auxiliary, from, others).await? else { return Ok(None) };
    let finding = Finding::new(
        Code::CascadeNotDue,
        format!(
            "{cascade} also deletes rows that another target keeps because of its `where` or `group`"
        ),
        "use `where` to exclude the rows that are still referred to, or change the foreign key to NO ACTION",
    );
    Ok(Some(Finding { cascades_to: Some(to), ..finding }))
}

async fn leading_to(
    auxiliary: &AuxiliaryConnection,
    from: &[u32],
    to: &[u32],
) -> Result<Option<(String, String)>, Error> {
    let Some(row) = auxiliary.row(LEADING_TO, &[&from, &to]).await? else { return Ok(None) };
    let (key, schema, name): (String, String, String) =
        (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
    let table = TableName { schema: Some(Ident::new(schema)), name: Ident::new(name) };
    Ok(Some((
        format!("the foreign key {key} of {} (ON DELETE CASCADE)", table.quoted()),
        table.quoted(),
    )))
}
