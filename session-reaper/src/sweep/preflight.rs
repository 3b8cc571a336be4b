//! Before anything is deleted: whether it is safe to. `session-reaper check` tells all that is
//! found here, and each run passes the same gate.
//!
//! - [`cascades`]: cascades that delete rows which a target keeps.
//! - [`finding`]: what is told, and the closed set of its codes.
//! - [`server`]: what is wrong for every target.
//! - [`subject`]: a target, from its catalog to its plans.
//! - [`condition`]: its `where`, and whose functions it calls.
//! - [`table`], [`indexes`], [`references`]: what the catalog says of one table.
//! - [`ancient`]: times that usually mean "never".
//! - [`pass`]: whether there is an index for it, and its statements; [`plans`]: the server would
//!   carry them out.
//!
//! Nothing is read but the catalog and, where there is an index for it, the two rows in it where a
//! chunk would begin and end; nothing is changed, and no lock is taken that makes anybody wait.

mod ancient;
pub(super) mod cascades;
mod condition;
mod finding;
mod indexes;
mod pass;
mod plans;
mod references;
pub(super) mod server;
mod subject;
mod table;

use std::time::{Duration, Instant};

use tokio_postgres::Error;

pub use finding::{Code, Finding, Level};
pub(super) use table::estimated_rows;

use super::auxiliary::AuxiliaryConnection;
use super::catalog::Leaf;
use super::condition::ResolvedCondition;
use super::db_error::{Bound, DbError};
use super::name::TableName;
use super::sql::PassSql;
use super::target::Target;

/// How long a lock on the table is waited for, and how long to stand back after each
/// `lock_timeout`: one that is held for some seconds (a migration's) is waited out, as between
/// chunks.
const WAIT_FOR_LOCK: Duration = Duration::from_secs(6);
const STAND_BACK: Duration = Duration::from_millis(250);

/// Findings of a target that a run tells; a table with hundreds of partitions may have as many.
pub(super) const TOLD: usize = 5;

/// A target with the statements that a run uses on it.
pub(super) struct Subject<'a> {
    pub(super) target: &'a Target,
    /// The table that was named.
    pub(super) oid: u32,
    pub(super) condition: Option<&'a ResolvedCondition>,
    /// The tables that its rows are in, with a pass a reason each.
    pub(super) leaves: &'a [(Leaf, Vec<PassSql>)],
    /// Rows in a chunk at the most.
    pub(super) chunk: u32,
}

/// What the gate goes by.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Rows of a table that a statement may read from one end to the other.
    pub max_scan_rows: u64,
    /// Goes on in spite of what may be forced.
    pub force_unsafe: bool,
}

/// Everything that is to be said of a target, the gravest first. Fails only when the connection
/// does.
pub(super) async fn examine(
    auxiliary: &AuxiliaryConnection,
    subject: &Subject<'_>,
    rules: Rules,
) -> Result<Vec<Finding>, Error> {
    let began = Instant::now();
    loop {
        let error = match subject.examine(auxiliary, rules).await {
            Ok(findings) => return Ok(in_order(findings)),
            Err(error) => error,
        };
        let table = subject.target.table.quoted();
        match DbError::of(&error) {
            DbError::Timeout(Bound::Lock) if began.elapsed() < WAIT_FOR_LOCK => {
                tokio::time::sleep(STAND_BACK).await;
            }
            DbError::Timeout(bound) => return Ok(vec![locked(&subject.target.table, bound)]),
            trouble @ DbError::Changed(_) => {
                return Ok(vec![Finding::plain(
                    Code::Unfit,
                    format!("{table} could not be looked at: {trouble}"),
                )]);
            }
            DbError::Gone(why) | DbError::Conflict(why) | DbError::Other(why) => {
                return Ok(vec![Finding::plain(
                    Code::Unfit,
                    format!("{table} could not be looked at: {why}"),
                )]);
            }
            DbError::Lost(_) | DbError::Pooler => return Err(error),
        }
    }
}

/// A table, or what refers to it, could not be looked at before `bound`.
pub(super) fn locked(table: &TableName, bound: Bound) -> Finding {
    Finding::new(
        Code::Locked,
        format!(
            "{}, or what refers to it, could not be looked at: {bound} reached",
            table.quoted()
        ),
        "somebody holds a lock on it, such as a migration or a VACUUM FULL (pg_locks says who): try again when that has ended",
    )
}

/// The gravest first, and the same thing once, however many partitions it is told of.
fn in_order(findings: Vec<Finding>) -> Vec<Finding> {
    let mut once: Vec<Finding> = Vec::with_capacity(findings.len());
    for finding in findings {
        if !once.iter().any(|told| told.code == finding.code && told.what == finding.what) {
            once.push(finding);
        }
    }
    once.sort_by_key(|finding| finding.level as u8);
    once
}

/// Why a run leaves a target alone, on one line.
pub(super) fn why(blocking: &[&Finding]) -> String {
    let mut told: Vec<String> = blocking.iter().take(TOLD).map(ToString::to_string).collect();
    if blocking.len() > TOLD {
        told.push(format!(
            "and {} more, which `session-reaper check` tells",
            blocking.len() - TOLD
        ));
    }
    told.join("; ")
}

/// What of the server is forced; else why no target is to be worked on.
pub(super) fn pass_server(findings: &[Finding], rules: Rules) -> Result<Vec<Code>, String> {
    let blocking: Vec<&Finding> = findings.iter().filter(|finding| finding.is_unsafe()).collect();
    for Finding { code, what, remedy, .. } in findings.iter().filter(|finding| !finding.is_unsafe())
    {
        tracing::debug!(event = "finding", code = code.as_str(), what, remedy, "finding");
    }
    let forced = rules.force_unsafe && blocking.iter().all(|finding| finding.code.may_be_forced());
    if !blocking.is_empty() && !forced {
        return Err(why(&blocking));
    }
    for Finding { code, what, remedy, .. } in &blocking {
        tracing::warn!(
            event = "finding_forced",
            code = code.as_str(),
            what,
            remedy,
            "unsafe finding overridden"
        );
    }
    Ok(blocking.iter().map(|finding| finding.code).collect())
}

/// A target that could not even be located or put into statements, for `why`. When that is for want
/// of a right to look into the schema, it says which.
pub(super) async fn unfit(
    auxiliary: &AuxiliaryConnection,
    target: &Target,
    why: String,
) -> Result<Finding, Error> {
    const USAGE: &str = "SELECT pg_catalog.has_schema_privilege(n.oid, 'USAGE'), pg_catalog.format('%I', CURRENT_USER)
        FROM pg_catalog.pg_namespace n WHERE n.nspname OPERATOR(pg_catalog.=) $1::pg_catalog.name";
    if let Some(schema) = &target.table.schema {
        let row = auxiliary.row(USAGE, &[&schema.as_str()]).await?;
        if let Some(role) =
            row.filter(|row| !row.get::<_, bool>(0)).map(|row| row.get::<_, String>(1))
        {
            return Ok(Finding::new(
                Code::PrivilegeMissing,
                why,
                format!("GRANT USAGE ON SCHEMA {} TO {role}", schema.quoted()),
            ));
        }
    }
    Ok(Finding::plain(Code::Unfit, why))
}
