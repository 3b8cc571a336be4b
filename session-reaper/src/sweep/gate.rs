//! Before anything is deleted: whether it is safe to. `session-reaper check` tells all that is found here, and each run passes
//! the same gate.
//!
//! - [`finding`]: what is told, and the closed set of its codes.
//! - [`server`]: what is wrong for every target.
//! - [`table`], [`indexes`], [`references`]: what the catalog says of one table.
//! - [`pass`]: whether there is an index for it, and its statements; [`plans`]: the server would carry them out.
//!
//! Nothing is read but the catalog and, where there is an index for it, the two rows in it where a chunk would begin and
//! end; nothing is changed, and no lock is taken that makes anybody wait.

mod finding;
mod indexes;
mod pass;
mod plans;
mod references;
pub(super) mod server;
mod table;

use std::time::{Duration, Instant};

use schema::connect::chain;
use tokio_postgres::Error;
use tokio_postgres::error::SqlState;

pub use finding::{Code, Finding, Level};

use self::pass::Walk;
use self::plans::Judge;
use self::table::Table;
use super::connection::{Beside, Bound, Trouble};
use super::name::TableName;
use super::sql::PassSql;
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
    /// Not the table that was named, but one of those that it is made up of.
    pub(super) partition: bool,
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
            // Whoever drops partitions may do so at any time.
            Trouble::Gone(_) if subject.partition => return Ok(Vec::new()),
            Trouble::Gone(why) | Trouble::Other(why) => {
                return Ok(vec![Finding::plain(Code::Unfit, format!("{table} could not be looked at: {why}"))]);
            }
            Trouble::Lost(_) | Trouble::Pooler => return Err(error),
        }
    }
}

/// The gravest first, and the same thing once, however many partitions it is told of.
pub(super) fn in_order(findings: Vec<Finding>) -> Vec<Finding> {
    let mut once: Vec<Finding> = Vec::with_capacity(findings.len());
    for finding in findings {
        if !once.iter().any(|told| told.code == finding.code && told.what == finding.what) {
            once.push(finding);
        }
    }
    once.sort_by_key(|finding| finding.level as u8);
    once
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
            let gone =
                || Finding::plain(Code::NoTable, format!("{} was dropped a moment ago", self.target.table.spelt()));
            return Ok(if self.partition { Vec::new() } else { vec![gone()] });
        };
        let indexes = indexes::read(beside, self.oid).await?;
        // What it is not asked to do with its own history it does all the same: it writes it.
        let ours = matches!(self.target.absent, Absent::LeftOut);
        let mut findings = table.judge(ours);
        let children = self.children(beside, &mut findings).await?;
        if let Some(group) = &self.target.group {
            let why = "by which the other rows of a group are looked up: each would be a scan of the table";
            findings.extend(indexes::look_up(Code::GroupNotIndexed, &table.name, group, &indexes, why));
        }
        let mut judge = Judge::new(beside);
        for (number, pass) in self.passes.iter().enumerate() {
            let walk = Walk { subject: self, table: &table, indexes: &indexes, number, pass, rules };
            let examined = walk.examine(beside, &mut judge).await;
            let Err(error) = examined.map(|found| findings.extend(found)) else { continue };
            match (error.code(), &pass.only) {
                (Some(&SqlState::INSUFFICIENT_PRIVILEGE), _) => {
                    findings.push(table.privilege_missing(&children, &chain(&error)));
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
        Ok(findings)
    }

    /// What refers to the table, and what holds for the tables whose rows go first.
    async fn children(&self, beside: &Beside, findings: &mut Vec<Finding>) -> Result<Vec<Table>, Error> {
        let first = self.passes.first().map(|pass| pass.children.as_slice()).unwrap_or_default();
        let named: Vec<TableName> = first.iter().map(|child| child.table.clone()).collect();
        findings.extend(references::examine(beside, self.oid, &named).await?);
        let mut children = Vec::new();
        for child in first {
            let row = beside.row("SELECT to_regclass($1)::oid", &[&child.table.to_string()]).await?;
            let Some(oid) = row.and_then(|row| row.get::<_, Option<u32>>(0)) else { continue };
            let Some(table) = Table::read(beside, oid, &[child.column.as_str()]).await? else { continue };
            findings.extend(table.judge(false));
            findings.extend(references::examine(beside, oid, &[]).await?);
            let why = "by which the rows that go first are looked up: each look would be a scan of that table";
            let indexes = indexes::read(beside, oid).await?;
            let finding = indexes::look_up(Code::ChildNotIndexed, &table.name, &child.column, &indexes, why);
            // A foreign key that has no index says the same.
            findings.extend(finding.filter(|new| findings.iter().all(|found| found.remedy != new.remedy)));
            children.push(table);
        }
        Ok(children)
    }
}
