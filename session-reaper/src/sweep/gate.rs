//! Before anything is deleted: whether it is safe to. `session-reaper check` tells all that is found here, and each run passes
//! the same gate.
//!
//! - [`finding`]: what is told, and the closed set of its codes.
//! - [`server`]: what is wrong for every target.
//! - [`table`], [`indexes`], [`references`]: what the catalog says of one table.
//! - [`plans`]: how the very statements of a run would be carried out.
//!
//! Nothing is read but the catalog and, where there is an index for it, the two rows in it where a chunk would begin and
//! end; nothing is changed, and no lock is taken that makes anybody wait.

mod finding;
mod indexes;
mod plans;
mod references;
pub(super) mod server;
mod table;

use std::time::{Duration, Instant};

use schema::connect::chain;
use tokio_postgres::Error;
use tokio_postgres::error::SqlState;

pub use finding::{Code, Finding, Level};

use self::indexes::{Index, Wanted};
use self::plans::{Bounds, Judge, Plan};
use self::table::Table;
use super::connection::{Beside, Bound, Trouble};
use super::sql::{Mark, PassSql, Stretch};
use super::target::{Absent, Target};

/// How long a lock on the table is waited for, and how long to stand back after each `lock_timeout`: one that is held for
/// some seconds (a migration's) is waited out, as between chunks.
const WAIT_FOR_LOCK: Duration = Duration::from_secs(6);
const STAND_BACK: Duration = Duration::from_millis(250);

/// What the gate goes by.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Rows of a table that a statement may read from one end to the other.
    pub max_scan_rows: u64,
    /// Goes on in spite of what may be forced.
    pub force_unsafe: bool,
}

/// One table of a target, with the statements that a run uses on it.
pub(super) struct Subject<'a> {
    pub(super) target: &'a Target,
    pub(super) oid: u32,
    pub(super) passes: &'a [PassSql],
    /// Rows in a chunk at the most.
    pub(super) chunk: u32,
}

/// Everything that is to be said of a table. Fails only when the connection does.
pub(super) async fn examine(beside: &Beside, subject: &Subject<'_>, rules: Rules) -> Result<Vec<Finding>, Error> {
    let began = Instant::now();
    loop {
        let error = match subject.examine(beside, rules).await {
            Ok(findings) => return Ok(findings),
            Err(error) => error,
        };
        let table = subject.target.table.spelt();
        match Trouble::of(&error) {
            Trouble::Timeout(Bound::Lock) if began.elapsed() < WAIT_FOR_LOCK => tokio::time::sleep(STAND_BACK).await,
            Trouble::Timeout(bound) => {
                return Ok(vec![Finding::new(
                    Code::Locked,
                    format!("{table}, or what refers to it, could not be looked at: {bound} struck"),
                    "somebody holds a lock on it, such as a migration or a VACUUM FULL (pg_locks says who): try again when that has ended",
                )]);
            }
            Trouble::Gone(why) | Trouble::Other(why) => {
                return Ok(vec![Finding::plain(Code::Unfit, format!("{table} could not be looked at: {why}"))]);
            }
            Trouble::Lost(_) | Trouble::Pooler => return Err(error),
        }
    }
}

/// What of the server is forced; else why no target is to be worked on.
pub(super) fn pass_server(findings: &[Finding], rules: Rules) -> Result<Vec<Code>, String> {
    let grave: Vec<&Finding> = findings.iter().filter(|finding| finding.is_unsafe()).collect();
    for Finding { code, what, remedy, .. } in findings.iter().filter(|finding| !finding.is_unsafe()) {
        tracing::debug!(code = code.as_str(), what, remedy, "found");
    }
    let forced = rules.force_unsafe && grave.iter().all(|finding| finding.code.may_be_forced());
    if !grave.is_empty() && !forced {
        return Err(grave.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "));
    }
    for Finding { code, what, remedy, .. } in &grave {
        tracing::warn!(code = code.as_str(), what, remedy, "unsafe, and forced");
    }
    Ok(grave.iter().map(|finding| finding.code).collect())
}

/// A target that could not even be located or put into statements, for `why`. When that is for want of a right to look into
/// the schema, it says which.
pub(super) async fn unfit(beside: &Beside, target: &Target, why: String) -> Result<Finding, Error> {
    const USAGE: &str = "SELECT has_schema_privilege(oid, 'USAGE'), format('%I', current_user::text) FROM pg_namespace WHERE nspname = $1";
    if let Some(schema) = &target.table.schema {
        let row = beside.row(USAGE, &[&schema.as_str()]).await?;
        if let Some(role) = row.filter(|row| !row.get::<_, bool>(0)).map(|row| row.get::<_, String>(1)) {
            return Ok(Finding::new(
                Code::PrivilegeMissing,
                why,
                format!("GRANT USAGE ON SCHEMA {} TO {role}", schema.spelt()),
            ));
        }
    }
    Ok(Finding::plain(Code::Unfit, why))
}

impl Subject<'_> {
    async fn examine(&self, beside: &Beside, rules: Rules) -> Result<Vec<Finding>, Error> {
        let due: Vec<&str> = self.passes.iter().map(|pass| pass.due.column.name.as_str()).collect();
        let Some(table) = Table::read(beside, self.oid, &due).await? else {
            let what = format!("{} was dropped a moment ago", self.target.table.spelt());
            return Ok(vec![Finding::plain(Code::NoTable, what)]);
        };
        let indexes = indexes::read(beside, self.oid).await?;
        // What it is not asked to do with its own history it does all the same: it writes it.
        let ours = matches!(self.target.absent, Absent::LeftOut);
        let mut findings = table.judge(ours);
        findings.extend(references::examine(beside, self.oid, &[]).await?);
        if let Some(group) = &self.target.group {
            let why = "by which the other rows of a group are looked up: each would be a scan of the table";
            findings.extend(indexes::look_up(Code::GroupNotIndexed, &table.name, group, &indexes, why));
        }
        let mut judge = Judge::new(beside);
        for (number, pass) in self.passes.iter().enumerate() {
            let examined = self.pass(beside, &table, &indexes, (number, pass), rules, &mut judge).await;
            let Err(error) = examined.map(|found| findings.extend(found)) else { continue };
            match (error.code(), &pass.only) {
                (Some(&SqlState::INSUFFICIENT_PRIVILEGE), _) => {
                    findings.push(table.privilege_missing(&chain(&error)));
                    break;
                }
                (Some(_), Some(_)) if matches!(Trouble::of(&error), Trouble::Other(_)) => {
                    let what = format!("`where` or `group` cannot be used: {}", chain(&error));
                    findings.push(Finding::plain(Code::ConditionRefused, what));
                    break;
                }
                _ => return Err(error),
            }
        }
        findings.extend(judge.findings);
        if self.passes.first().is_some_and(|pass| pass.key.is_empty()) {
            let name = table.name.spelt();
            findings.push(Finding::new(
                Code::NoKey,
                format!(
                    "{name} has no key that is unique and never null: rows of one time go in one chunk, however many"
                ),
                format!("ALTER TABLE {name} ADD PRIMARY KEY (…), where the application allows it"),
            ));
        }
        findings.sort_by_key(|finding| finding.level as u8);
        let mut once: Vec<Finding> = Vec::with_capacity(findings.len());
        findings.retain(|finding| {
            let new = !once.contains(finding);
            once.extend(new.then(|| finding.clone()));
            new
        });
        Ok(findings)
    }

    /// Its index, and the plans of its statements.
    async fn pass(
        &self,
        beside: &Beside,
        table: &Table,
        indexes: &[Index],
        (number, pass): (usize, &PassSql),
        rules: Rules,
        judge: &mut Judge<'_>,
    ) -> Result<Vec<Finding>, Error> {
        let mut findings = Vec::new();
        let column = &pass.due.column.name;
        let (all, rows) = (Stretch::default(), i64::from(self.chunk) - 1);
        let probe = Plan::of(beside, &pass.probe(&all, &rows)).await?;
        // Whether what is missing from a partial index can be due is for the planner to prove.
        let used = probe.indexes_of(&table.name);
        let serving: Vec<&Index> = indexes
            .iter()
            .filter(|index| index.could_serve(column) && (index.predicate.is_none() || used.contains(&index.name)))
            .collect();
        let along: Vec<String> = serving.iter().map(|index| index.name.clone()).collect();
        let ties_broken = serving.iter().any(|index| index.breaks_ties(&pass.key));
        if along.is_empty() {
            let wanted = Wanted {
                table: &table.name,
                column,
                key: &pass.key,
                mostly_null: table.nulls.get(number).is_some_and(|share| *share > 0.5),
            };
            findings.push(indexes::none_serves(&wanted, indexes));
        } else if !ties_broken && !pass.key.is_empty() {
            findings.extend(self.many_of_one_time(table, number, pass));
        }

        let stretch = if along.is_empty() { all.clone() } else { first_chunk(beside, pass, rows).await? };
        let bounds = Bounds {
            table: &table.name,
            rows: table.rows,
            max_scan_rows: rules.max_scan_rows,
            along: &along,
            sorts_by: (!ties_broken).then_some(column),
        };
        let reason = self.target.reasons.get(number).map_or("", |reason| reason.name.as_str());
        judge.judge(&probe, &format!("finding the end of a chunk ({reason})"), &bounds).await?;
        match Plan::of(beside, &pass.delete(&stretch, &rows, &0)).await {
            Ok(delete) => judge.judge(&delete, &format!("deleting a chunk ({reason})"), &bounds).await?,
            // A lock that lets others read. What walks and what decides is in the other two as well; a run waits it out.
            Err(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => findings.push(Finding::new(
                Code::PlanUnseen,
                format!(
                    "somebody holds a lock on {}: how rows would be deleted could not be looked at",
                    table.name.spelt()
                ),
                "look again when whoever holds it has ended (pg_locks says who)",
            )),
            Err(error) => return Err(error),
        }
        let cap = i64::from(self.chunk);
        let count = Plan::of(beside, &pass.count(&stretch, &cap)).await?;
        judge.judge(&count, &format!("counting what is due ({reason})"), &bounds).await?;
        Ok(findings)
    }

    fn many_of_one_time(&self, table: &Table, number: usize, pass: &PassSql) -> Option<Finding> {
        let share = table.most_of_one_time.get(number).copied().unwrap_or_default();
        #[allow(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "an estimate, and never negative"
        )]
        let alike = (share * table.rows as f32) as u64;
        if alike <= u64::from(self.chunk) {
            return None;
        }
        let (name, column) = (table.name.spelt(), pass.due.column.name.spelt());
        let key: Vec<String> = pass.key.iter().map(|column| column.name.spelt()).collect();
        Some(Finding::new(
            Code::IndexWithoutKey,
            format!(
                "about {alike} rows of {name} have the same {column}: without the key in the index each chunk of them sorts them all"
            ),
            format!("CREATE INDEX CONCURRENTLY ON {name} ({column}, {})", key.join(", ")),
        ))
    }
}

/// The stretch of the first chunk that has a chunk before it: most chunks are between two marks. It ends open where less is due.
async fn first_chunk(beside: &Beside, pass: &PassSql, rows: i64) -> Result<Stretch, Error> {
    let mut stretch = Stretch::default();
    for offset in [0, rows] {
        let query = pass.probe(&stretch, &offset);
        let mark = match beside.row(&query.text, &query.params).await {
            Ok(row) => row.map(|row| (0..row.len()).map(|column| row.get(column)).collect::<Mark>()),
            // Of cold disks, and many dead entries at the head of the index, a run has to find a way out; not we.
            Err(error) if error.code() == Some(&SqlState::QUERY_CANCELED) => return Ok(Stretch::default()),
            Err(error) => return Err(error),
        };
        let Some(mark) = mark else { break };
        if stretch.low.is_none() {
            stretch.low = Some(mark);
        } else {
            stretch.high = Some(mark);
        }
    }
    Ok(stretch)
}
