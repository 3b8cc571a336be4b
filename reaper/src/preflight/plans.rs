//! Checks the plans of the statements that a run uses. On a large table, a statement must read only
//! a limited number of rows.
//!
//! The plans are read with EXPLAIN, which does not execute the statement, and with the same
//! settings as in a run. On a small table, any plan is acceptable, so only a table that the planner
//! estimates to be large causes a finding.

use std::collections::HashMap;

use serde_json::Value;
use tokio_postgres::Error;

use super::finding::{Code, Finding};
use super::table::estimated_rows;
use crate::connection::auxiliary::AuxiliaryConnection;
use crate::sql::query::Query;
use crate::target::name::{Ident, TableName};

const SIZES: &str = "
    SELECT c.reltuples, c.relpages, pg_catalog.pg_relation_size(c.oid)
        OPERATOR(pg_catalog./) pg_catalog.current_setting('block_size')::bigint
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
    WHERE n.nspname OPERATOR(pg_catalog.=) $1::pg_catalog.name AND c.relname OPERATOR(pg_catalog.=) $2::pg_catalog.name";

/// A plan in the format of `EXPLAIN (FORMAT JSON, VERBOSE)`.
pub(super) struct Plan(Value);

/// A node that reads a table.
struct Scan {
    table: TableName,
    kind: Kind,
    index: Option<String>,
    /// Whether a condition is checked for each row that the scan finds.
    filtered: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Reads only the rows that satisfy an index condition, or only the first rows of an index.
    Bounded,
    Sequential,
    /// Reads a whole index.
    WholeIndex,
}

/// A node that sorts all of its input.
struct Sorted {
    rows: u64,
    first_key: String,
}

impl Plan {
    pub(super) async fn of(
        auxiliary: &AuxiliaryConnection,
        query: &Query<'_>,
    ) -> Result<Self, Error> {
        let text = format!("EXPLAIN (FORMAT JSON, VERBOSE) {}", query.text);
        let rows = auxiliary.on_path(&text).await?;
        let plan = rows.first().and_then(|row| serde_json::from_str(row.text(0)?).ok());
        Ok(Self(plan.unwrap_or_default()))
    }

    /// Returns the names of the indexes of `table` that the plan scans with an index condition.
    pub(super) fn indexes_of(&self, table: &TableName) -> Vec<String> {
        let (scans, _) = self.read();
        let bounded =
            scans.into_iter().filter(|scan| scan.kind == Kind::Bounded && scan.table == *table);
        bounded.filter_map(|scan| scan.index).collect()
    }

    /// Returns the names of the indexes of `table` that the plan scans with an index condition and
    /// without a filter.
    pub(super) fn unfiltered_indexes_of(&self, table: &TableName) -> Vec<String> {
        let (scans, _) = self.read();
        let unfiltered = scans
            .into_iter()
            .filter(|scan| scan.kind == Kind::Bounded && !scan.filtered && scan.table == *table);
        unfiltered.filter_map(|scan| scan.index).collect()
    }

    /// Returns `None` if the plan reads the table through one of the indexes that the pass may
    /// scan, or if the table is small. Otherwise, returns the indexes that the plan uses instead.
    pub(super) fn other_indexes(&self, bounds: &Bounds<'_>) -> Option<Vec<String>> {
        let along = bounds.along.filter(|along| !along.is_empty())?;
        let used = self.indexes_of(bounds.table);
        let other =
            bounds.rows > bounds.max_scan_rows && !used.iter().any(|index| along.contains(index));
        other.then_some(used)
    }

    fn read(&self) -> (Vec<Scan>, Vec<Sorted>) {
        let (mut scans, mut sorts) = (Vec::new(), Vec::new());
        walk(
            &self.0[0]["Plan"],
            false,
            &mut TableName { schema: None, name: Ident::new("") },
            &mut scans,
            &mut sorts,
        );
        (scans, sorts)
    }
}

/// Collects the nodes of a plan that scan a table or sort rows. `limited` is `true` if the node is
/// directly below a LIMIT, so that a scan without a filter reads no more rows than the limit.
fn walk(
    node: &Value,
    limited: bool,
    around: &mut TableName,
    scans: &mut Vec<Scan>,
    sorts: &mut Vec<Sorted>,
) {
    let text = |name: &str| node[name].as_str();
    let kind = text("Node Type").unwrap_or_default();
    if let (Some(schema), Some(relation)) = (text("Schema"), text("Relation Name")) {
        *around = TableName { schema: Some(Ident::new(schema)), name: Ident::new(relation) };
    }
    let first_rows = limited && node["Filter"].is_null();
    let scan = match kind {
        "Seq Scan" | "Sample Scan" if !first_rows => Some(Kind::Sequential),
        "Index Scan" | "Index Only Scan" | "Bitmap Index Scan" => {
            Some(if node["Index Cond"].is_null() && !first_rows {
                Kind::WholeIndex
            } else {
                Kind::Bounded
            })
        }
        _ => None,
    };
    if let Some(kind) = scan {
        scans.push(Scan {
            table: around.clone(),
            kind,
            index: text("Index Name").map(str::to_owned),
            filtered: !node["Filter"].is_null(),
        });
    }
    let below = node["Plans"].as_array().map(Vec::as_slice).unwrap_or_default();
    if kind == "Sort" {
        let rows = below.first().and_then(|input| input["Plan Rows"].as_f64()).unwrap_or_default();
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "an estimate, and never negative"
        )]
        sorts.push(Sorted {
            rows: rows as u64,
            first_key: node["Sort Key"][0].as_str().unwrap_or_default().to_owned(),
        });
    }
    for input in below {
        walk(input, kind == "Limit", around, scans, sorts);
    }
}

/// What the statements on a table may read without a finding: the indexes that they may scan, and
/// how large the table is.
#[derive(Clone, Copy)]
pub(super) struct Bounds<'a> {
    pub(super) table: &'a TableName,
    pub(super) rows: u64,
    pub(super) max_scan_rows: u64,
    /// The indexes that a pass (the work on one table for one reason) may scan. Empty if another
    /// finding already reports that there is no such index. `None` if the statement scans the table
    /// in heap order.
    pub(super) along: Option<&'a [String]>,
    /// The first sort key of a sort that the pass needs because the index does not contain the key,
    /// so that all rows with the same time are sorted. `None` if no such sort is needed.
    pub(super) sorts_by: Option<&'a Ident>,
}

/// Checks plans, and reports each finding once.
pub(super) struct Judge<'a> {
    auxiliary: &'a AuxiliaryConnection,
    sizes: HashMap<String, u64>,
    reported: Vec<(Code, String)>,
    pub(super) findings: Vec<Finding>,
    pub(super) chunk_limits: ChunkLimits,
}

/// The maximum number of rows in a chunk (the rows that one transaction deletes), by the oid of the
/// table and the number of the pass. A pass has such a limit if the planner would use another index
/// for larger chunks.
pub(crate) type ChunkLimits = HashMap<(u32, usize), u32>;

impl<'a> Judge<'a> {
    pub(super) fn new(auxiliary: &'a AuxiliaryConnection) -> Self {
        Self {
            auxiliary,
            sizes: HashMap::new(),
            reported: Vec::new(),
            findings: Vec::new(),
            chunk_limits: ChunkLimits::new(),
        }
    }

    /// Checks a plan. `statement` describes the statement in findings.
    pub(super) async fn judge(
        &mut self,
        plan: &Plan,
        statement: &str,
        bounds: &Bounds<'_>,
    ) -> Result<(), Error> {
        let (scans, sorts) = plan.read();
        let own = |scan: &Scan| scan.table == *bounds.table;
        let large = bounds.rows > bounds.max_scan_rows;
        for scan in scans.iter().filter(|scan| scan.kind != Kind::Bounded) {
            if own(scan) && bounds.along.is_some_and(<[String]>::is_empty) {
                continue;
            }
            let rows = if own(scan) { bounds.rows } else { self.size(&scan.table).await? };
            if rows <= bounds.max_scan_rows {
                continue;
            }
            let (code, how) = match (scan.kind, &scan.index) {
                (Kind::WholeIndex, Some(index)) => {
                    (Code::UnboundedIndexScan, format!("through the whole index {index}"))
                }
                _ => (Code::SequentialScan, "sequentially".to_owned()),
            };
            let table = scan.table.quoted();
            let what = format!("{statement} would read {table}, about {rows} rows, {how}");
            let remedy = if own(scan) {
                format!(
                    "run ANALYZE {table}, because its statistics may be out of date; if `where` has a sub-select on {table}, write the sub-select as a lookup by the key"
                )
            } else {
                format!(
                    "write the sub-select of `where` on {table} as a lookup by an indexed column that ends in OFFSET 0, and run ANALYZE \
                     {table}; or allow the scan with --max-scan-rows"
                )
            };
            self.report(code, &table, what, remedy);
        }
        let table = bounds.table.quoted();
        let Some(along) = bounds.along.filter(|along| large && !along.is_empty()) else {
            return Ok(());
        };
        let ties = bounds.sorts_by.map(|column| format!(".{}", column.quoted()));
        let sort = sorts.iter().find(|sort| {
            sort.rows > bounds.max_scan_rows
                && !ties.as_ref().is_some_and(|ties| sort.first_key.ends_with(ties.as_str()))
        });
        if let Some(sort) = sort {
            let what = format!("{statement} would sort about {} rows", sort.rows);
            self.report(
                Code::Sort,
                &table,
                what,
                format!("run ANALYZE {table}, because its statistics may be out of date"),
            );
        }
        if let Some(used) = plan.other_indexes(bounds) {
            let what = format!(
                "{statement} would not use {} to read {table}, but {}",
                along.join(" or "),
                if used.is_empty() { "no index".to_owned() } else { used.join(", ") }
            );
            let remedy = format!("run ANALYZE {table}, because its statistics may be out of date");
            self.report(Code::OtherIndex, &table, what, remedy);
        }
        Ok(())
    }

    fn report(&mut self, code: Code, table: &str, what: String, remedy: String) {
        let about = (code, table.to_owned());
        if !self.reported.contains(&about) {
            self.reported.push(about);
            self.findings.push(Finding::new(code, what, remedy));
        }
    }

    async fn size(&mut self, table: &TableName) -> Result<u64, Error> {
        let name = table.to_string();
        if let Some(rows) = self.sizes.get(&name) {
            return Ok(*rows);
        }
        let schema = table.schema.as_ref().map(Ident::as_str).unwrap_or_default();
        let row = self.auxiliary.row(SIZES, &[&schema, &table.name.as_str()]).await?;
        let rows = row.map_or(0, |row| estimated_rows(row.get(0), row.get(1), row.get(2)));
        self.sizes.insert(name, rows);
        Ok(rows)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn scans(plan: &Value) -> Vec<(String, Kind)> {
        let (scans, _) = Plan(json!([{ "Plan": plan }])).read();
        scans.into_iter().map(|scan| (scan.table.quoted(), scan.kind)).collect()
    }

    impl std::fmt::Debug for Kind {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str(match self {
                Self::Bounded => "bounded",
                Self::Sequential => "sequential",
                Self::WholeIndex => "whole index",
            })
        }
    }

    #[test]
    fn scan_is_bounded_by_index_condition_or_limit() {
        let on = |kind: &str, more: Value| {
            let mut node = json!({ "Node Type": kind, "Schema": "s", "Relation Name": "t", "Index Name": "i" });
            node.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            node
        };
        let limited = |node: Value| json!({ "Node Type": "Limit", "Plans": [node] });
        let none = || json!({});
        for (plan, expected) in [
            (on("Seq Scan", none()), Kind::Sequential),
            (on("Index Scan", none()), Kind::WholeIndex),
            (on("Index Only Scan", json!({ "Filter": "x" })), Kind::WholeIndex),
            (on("Index Scan", json!({ "Index Cond": "x" })), Kind::Bounded),
            (limited(on("Index Only Scan", none())), Kind::Bounded),
            (limited(on("Index Only Scan", json!({ "Filter": "x" }))), Kind::WholeIndex),
            (limited(on("Seq Scan", json!({ "Filter": "x" }))), Kind::Sequential),
        ] {
            assert_eq!(scans(&plan), [("s.t".to_owned(), expected)], "{plan}");
        }
        assert_eq!(scans(&limited(on("Seq Scan", none()))), []);
        // The name of the table is in the parent node.
        let bitmap = json!({ "Node Type": "Bitmap Heap Scan", "Schema": "s", "Relation Name": "u",
            "Plans": [{ "Node Type": "Bitmap Index Scan", "Index Name": "i" }] });
        assert_eq!(scans(&bitmap), [("s.u".to_owned(), Kind::WholeIndex)]);
    }
}
