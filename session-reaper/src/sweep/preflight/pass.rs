//! One pass: whether there is an index for it to walk along, and the plans of its statements.

use tokio_postgres::Error;
use tokio_postgres::error::SqlState;

use super::finding::{Code, Finding};
use super::indexes::{self, Index, Wanted};
use super::plans::{Bounds, Judge, Plan};
use super::table::Table;
use super::{Rules, Subject};
use crate::sweep::auxiliary::{AuxiliaryConnection, TextRow};
use crate::sweep::backlog::COUNT_CAP;
use crate::sweep::blocks::Blocks;
use crate::sweep::refused::Refused;
use crate::sweep::sql::{KeyRange, PassSql};
use crate::sweep::target::Order;

/// A pass on a table, and what is known of that.
#[derive(Clone, Copy)]
pub(super) struct Walk<'a> {
    pub(super) subject: &'a Subject<'a>,
    pub(super) table: &'a Table,
    pub(super) indexes: &'a [Index],
    /// Its place among the passes.
    pub(super) number: usize,
    pub(super) pass: &'a PassSql,
    pub(super) rules: Rules,
}

impl Walk<'_> {
    /// Whether there is an index that serves it, whatever the planner thinks.
    pub(super) fn has_whole_index(&self) -> bool {
        let column = &self.pass.due.column.name;
        self.indexes.iter().any(|index| index.could_serve(column) && index.predicate.is_none())
    }

    pub(super) async fn examine(
        &self,
        auxiliary: &AuxiliaryConnection,
        judge: &mut Judge<'_>,
    ) -> Result<Vec<Finding>, Error> {
        let Self { subject, table, indexes, number, pass, rules } = *self;
        let pass = &pass.written();
        let mut findings = Vec::new();
        let column = &pass.due.column.name;
        let (all, rows) = (KeyRange::default(), i64::from(subject.chunk) - 1);
        let probe = Plan::of(auxiliary, &pass.probe(&all, &rows)).await?;
        // Whether what is missing from a partial index can be due is for the planner to prove.
        let used = probe.indexes_of(&table.name);
        let serving: Vec<&Index> = indexes
            .iter()
            .filter(|index| {
                index.could_serve(column)
                    && (index.predicate.is_none() || used.contains(&index.name))
            })
            .collect();
        let along: Vec<String> = serving.iter().map(|index| index.name.clone()).collect();
        let ties_broken = serving.iter().any(|index| index.breaks_ties(&pass.key));
        if along.is_empty() {
            let wanted = Wanted {
                table: &table.name,
                column,
                key: &pass.key,
                mostly_null: table.nulls.get(number).is_some_and(|table_share| *table_share > 0.5),
            };
            findings.push(indexes::none_serves(&wanted, indexes));
        } else {
            findings.extend(self.ancient(auxiliary).await?);
            if !ties_broken && !pass.key.is_empty() {
                findings.extend(self.many_of_one_time());
            }
        }

        let range =
            if along.is_empty() { all.clone() } else { first_chunk(auxiliary, pass, rows).await? };
        let bounds = Bounds {
            table: &table.name,
            rows: table.rows,
            max_scan_rows: rules.max_scan_rows,
            along: Some(&along),
            sorts_by: (!ties_broken).then_some(column),
        };
        let reason = subject.target.reasons.get(number).map_or("", |reason| reason.name.as_str());
        judge.judge(&probe, &format!("finding the end of a chunk ({reason})"), &bounds).await?;
        let mut deletes = vec![(pass.clone(), range, bounds, "deleting a chunk")];
        if subject.target.order != Some(Order::Index) {
            let by_blocks = Bounds { along: None, ..bounds };
            deletes.push((
                pass.ordered(Order::Heap),
                Blocks::new(100, None).whole(),
                by_blocks,
                "deleting by blocks",
            ));
        }
        let none = Refused::none();
        for (pass, range, bounds, what) in &deletes {
            let deletes =
                pass.manners().iter().map(|lock_wait| pass.delete(range, &rows, &0, *lock_wait));
            for query in pass.lock(range, &rows, &none.array).into_iter().chain(deletes) {
                match Plan::of(auxiliary, &query).await {
                    Ok(delete) => judge.judge(&delete, &format!("{what} ({reason})"), bounds).await?,
                    // A lock that lets others read. What walks and what decides is in the others as well; a run waits it out.
                    Err(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => findings.push(Finding::new(
                        Code::PlanUnseen,
                        format!(
                            "somebody holds a lock on {}: how rows would be deleted could not be looked at",
                            table.name.quoted()
                        ),
                        "look again when whoever holds it has ended (pg_locks says who)",
                    )),
                    Err(error) => return Err(error),
                }
            }
        }
        let count = Plan::of(auxiliary, &pass.count(&all, &COUNT_CAP)).await?;
        judge.judge(&count, &format!("counting what is due ({reason})"), &bounds).await?;
        Ok(findings)
    }

    fn many_of_one_time(&self) -> Option<Finding> {
        let Self { subject, table, number, pass, .. } = *self;
        let table_share = table.most_of_one_time.get(number).copied().unwrap_or_default();
        #[allow(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "an estimate, and never negative"
        )]
        let alike = (table_share * table.rows as f32) as u64;
        if alike <= u64::from(subject.chunk) {
            return None;
        }
        let (name, column) = (table.name.quoted(), pass.due.column.name.quoted());
        let key: Vec<String> = pass.key.iter().map(|column| column.name.quoted()).collect();
        Some(Finding::new(
            Code::IndexWithoutKey,
            format!(
                "about {alike} rows of {name} have the same {column}: without the key in the index each chunk of them sorts them all"
            ),
            format!("CREATE INDEX CONCURRENTLY ON {name} ({column}, {})", key.join(", ")),
        ))
    }
}

/// The stretch of the first chunk that has a chunk before it: most chunks are between two marks. It
/// ends open where less is due.
async fn first_chunk(
    auxiliary: &AuxiliaryConnection,
    pass: &PassSql,
    rows: i64,
) -> Result<KeyRange, Error> {
    let mut range = KeyRange::default();
    for offset in [0, rows] {
        let query = pass.probe(&range, &offset);
        let mark = match auxiliary.of_target(&query).await {
            Ok(row) => row.map(TextRow::mark),
            // Of cold disks, and many dead entries at the head of the index, a run has to find a
            // way out; not we.
            Err(error) if error.code() == Some(&SqlState::QUERY_CANCELED) => {
                return Ok(KeyRange::default());
            }
            Err(error) => return Err(error),
        };
        let Some(mark) = mark else { break };
        if range.low.is_none() {
            range.low = Some(mark);
        } else {
            range.high = Some(mark);
        }
    }
    Ok(range)
}
