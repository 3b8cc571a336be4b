//! Checks whether there is an index for a pass, which is the work on one table for one reason. The
//! index must begin with the due column, ideally followed by the key.

use std::collections::HashMap;

use tokio_postgres::Error;

use super::finding::{Code, Finding};
use crate::connection::auxiliary::AuxiliaryConnection;
use crate::target::catalog::Column;
use crate::target::name::{Ident, TableName};

/// Returns the indexes of the tables `$1`. In the list of the columns of an index, an expression is
/// null. The second-to-last result column is true if a forward or backward scan of the index
/// returns rows in the order of ORDER BY with nulls last.
const INDEXES: &str = "
    SELECT n.nspname::pg_catalog.text, c.relname::pg_catalog.text, m.amname::pg_catalog.text,
        i.indisvalid AND i.indisready AND i.indislive, i.indisunique, pg_catalog.pg_get_expr(i.indpred, i.indrelid),
        ARRAY (SELECT a.attname::pg_catalog.text
               FROM pg_catalog.generate_series(0, i.indnkeyatts OPERATOR(pg_catalog.-) 1) AS part
               LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) i.indrelid
                   AND a.attnum OPERATOR(pg_catalog.=) i.indkey[part] AND a.attnum OPERATOR(pg_catalog.>) 0
               ORDER BY part),
        i.indoption[0] OPERATOR(pg_catalog.=) ANY ('{0,3}'::int[]), i.indrelid
    FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) i.indexrelid
        JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
        JOIN pg_catalog.pg_am m ON m.oid OPERATOR(pg_catalog.=) c.relam
    WHERE i.indrelid OPERATOR(pg_catalog.=) ANY ($1::pg_catalog.oid[])
    ORDER BY c.relname";

/// An index of the table.
pub(super) struct Index {
    /// The name of the index, as it appears in plans.
    pub(super) name: String,
    quoted: String,
    method: String,
    valid: bool,
    unique: bool,
    pub(super) predicate: Option<String>,
    columns: Vec<Option<String>>,
    plain: bool,
}

impl Index {
    fn leads_with(&self, column: &Ident) -> bool {
        self.columns.first().and_then(Option::as_deref) == Some(column.as_str())
    }

    /// Returns whether a pass could scan the index, regardless of the predicate of the index.
    pub(super) fn could_serve(&self, column: &Ident) -> bool {
        self.leads_with(column) && self.valid && self.method == "btree" && self.plain
    }

    /// Returns whether the index can look up `column = …`.
    fn looks_up(&self, column: &Ident) -> bool {
        let not_null =
            [format!("({column} IS NOT NULL)"), format!("({} IS NOT NULL)", column.quoted())];
        self.leads_with(column)
            && self.valid
            && matches!(self.method.as_str(), "btree" | "hash")
            && self.predicate.as_ref().is_none_or(|predicate| not_null.contains(predicate))
    }

    /// Returns whether the index orders rows with the same time by the key.
    pub(super) fn breaks_ties(&self, key: &[Column]) -> bool {
        self.columns.get(1).is_some_and(|next| {
            next.as_deref().is_some_and(|next| key.iter().any(|k| k.name.as_str() == next))
        })
    }
}

/// Returns the indexes of each table.
pub(super) async fn read(
    auxiliary: &AuxiliaryConnection,
    oids: &[u32],
) -> Result<HashMap<u32, Vec<Index>>, Error> {
    let mut indexes: HashMap<u32, Vec<Index>> = HashMap::new();
    for row in auxiliary.rows(INDEXES, &[&oids]).await? {
        let (schema, name): (String, String) = (row.get(0), row.get(1));
        let quoted =
            TableName { schema: Some(Ident::new(schema)), name: Ident::new(name.as_str()) }
                .quoted();
        indexes.entry(row.get(8)).or_default().push(Index {
            name,
            quoted,
            method: row.get(2),
            valid: row.get(3),
            unique: row.get(4),
            predicate: row.get(5),
            columns: row.get(6),
            plain: row.get::<_, Option<bool>>(7).unwrap_or(false),
        });
    }
    Ok(indexes)
}

/// The index that a pass needs.
pub(super) struct Wanted<'a> {
    pub(super) table: &'a TableName,
    pub(super) column: &'a Ident,
    pub(super) key: &'a [Column],
    /// Whether the due column is null in most rows.
    pub(super) mostly_null: bool,
    /// The condition that columns of a row are still to be set; `None` if rows are deleted.
    pub(super) rows_to_set: Option<String>,
}

impl Wanted<'_> {
    /// Returns the statement that creates the index.
    pub(super) fn create(&self) -> String {
        let key = self.key.iter().map(|column| &column.name).filter(|name| *name != self.column);
        let columns: Vec<String> =
            std::iter::once(self.column).chain(key).map(Ident::quoted).collect();
        let column = self.column.quoted();
        let only = match &self.rows_to_set {
            Some(rows_to_set) => format!(" WHERE {rows_to_set}"),
            None if self.mostly_null => format!(" WHERE {column} IS NOT NULL"),
            None => String::new(),
        };
        format!(
            "CREATE INDEX CONCURRENTLY ON {} ({}){only}",
            self.table.quoted(),
            columns.join(", ")
        )
    }
}

/// Returns the finding for a pass that cannot scan any index. The finding explains why the most
/// similar index is not suitable.
pub(super) fn none_serves(wanted: &Wanted<'_>, indexes: &[Index]) -> Finding {
    let (table, column, create) = (wanted.table.quoted(), wanted.column.quoted(), wanted.create());
    let nearly: Vec<&Index> =
        indexes.iter().filter(|index| index.leads_with(wanted.column)).collect();
    if let Some(index) = nearly.iter().find(|index| !index.valid) {
        let name = &index.quoted;
        let remedy = if index.unique {
            // Creating the index probably failed because of duplicates, and REINDEX would fail
            // again.
            format!("DROP INDEX CONCURRENTLY {name}; {create}")
        } else {
            format!("REINDEX INDEX CONCURRENTLY {name}")
        };
        return Finding::new(
            Code::InvalidIndex,
            format!(
                "the index {name} on {table} ({column}) is invalid: its CREATE or REINDEX CONCURRENTLY failed or is still in progress"
            ),
            remedy,
        );
    }
    if wanted.rows_to_set.is_some() {
        let what = format!(
            "no index of {table} begins with {column} and contains only the rows whose columns are still to be set: each run would \
             read all rows that earlier runs have changed"
        );
        return Finding::new(Code::NoIndex, what, create);
    }
    if let Some(index) = nearly.iter().find(|index| index.could_serve(wanted.column)) {
        let (name, predicate) = (&index.quoted, index.predicate.as_deref().unwrap_or_default());
        return Finding::new(
            Code::PartialIndex,
            format!(
                "the index {name} on {table} ({column}) is partial and does not contain all due rows, but only the rows with {predicate}"
            ),
            create,
        );
    }
    let detail = match nearly.first() {
        Some(index) if index.method != "btree" => {
            format!("; {} is of the kind {}, which is not ordered", index.quoted, index.method)
        }
        Some(index) => {
            format!(
                "; {} has nulls where ORDER BY has not, so each chunk would need a sort",
                index.quoted
            )
        }
        None => {
            let within = indexes.iter().find(|index| {
                index.columns.iter().flatten().any(|name| name == wanted.column.as_str())
            });
            within
                .map(|index| format!("; in {} it is not the first column", index.quoted))
                .unwrap_or_default()
        }
    };
    let what = format!(
        "{table} has no index that begins with {column}: each chunk would read the whole table{detail}"
    );
    Finding::new(Code::NoIndex, what, create)
}

/// Returns the finding `code` if there is no index for looking up rows by the values of columns. An
/// index that begins with one of the columns is sufficient.
pub(super) fn look_up(
    code: Code,
    table: &TableName,
    columns: &[&Ident],
    indexes: &[Index],
    why: &str,
) -> Option<Finding> {
    let any = |of: &dyn Fn(&Ident) -> bool| columns.iter().any(|column| of(column));
    if indexes.iter().any(|index| any(&|column| index.looks_up(column))) {
        return None;
    }
    let invalid =
        indexes.iter().find(|index| any(&|column| index.leads_with(column)) && !index.valid);
    let detail = invalid.map(|index| format!("; {} is invalid", index.quoted)).unwrap_or_default();
    let drop = invalid
        .map(|index| format!("DROP INDEX CONCURRENTLY {}; ", index.quoted))
        .unwrap_or_default();
    let names: Vec<String> = columns.iter().map(|column| column.quoted()).collect();
    let (table, either, all) = (table.quoted(), names.join(" or "), names.join(", "));
    Some(Finding::new(
        code,
        format!("{table} has no index that begins with {either}, {why}{detail}"),
        format!("{drop}CREATE INDEX CONCURRENTLY ON {table} ({all})"),
    ))
}
