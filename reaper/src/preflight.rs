//! The preflight checks, which run before anything is deleted. `session-reaper check` reports all
//! findings, and each run does the same checks.
//!
//! - [`cascades`]: cascades that delete rows which a target keeps.
//! - [`finding`]: the findings and the closed set of their codes.
//! - [`server`]: findings that apply to every target.
//! - [`subject`]: the checks of a target, from its catalog entries to its plans.
//! - [`condition`]: the `where` of a target, and the owners of the objects in it.
//! - [`table`], [`indexes`], [`references`]: checks of the catalog entries of one table.
//! - [`ancient`]: times that usually mean "never".
//! - [`pass`]: the index and the statements of one pass (the work on one table for one reason);
//!   [`plans`]: the plans of these statements.
//!
//! The checks read only the catalog and, if there is an index for a pass, the two rows in the index
//! where a chunk (the rows that one transaction deletes) would begin and end. The checks change
//! nothing, and take no lock that blocks other sessions.

mod ancient;
pub(crate) mod cascades;
mod condition;
mod finding;
pub(crate) mod first_run_guard;
mod indexes;
mod pass;
mod plans;
mod references;
pub(crate) mod server;
mod subject;
mod table;
pub(crate) mod table_share;

use std::time::{Duration, Instant};

use tokio_postgres::Error;

pub use finding::{Code, Finding, Level};
pub(crate) use plans::ChunkLimits;
pub(crate) use table::estimated_rows;

use crate::connection::auxiliary::AuxiliaryConnection;
use crate::connection::db_error::{Bound, DbError, Rejection};
use crate::sql::PassSql;
use crate::target::Target;
use crate::target::catalog::Leaf;
use crate::target::condition::ResolvedCondition;
use crate::target::name::TableName;

/// How long to wait for a lock on the table. This is long enough for a lock that is held for a few
/// seconds, such as the lock of a migration. For the same reason, a chunk is retried for several
/// seconds.
const WAIT_FOR_LOCK: Duration = Duration::from_secs(6);
/// The delay after each `lock_timeout`, before the next attempt to get the lock.
const BACKOFF: Duration = Duration::from_millis(250);

/// The number of findings of a target that a run reports. A table with hundreds of partitions may
/// have hundreds of findings.
pub(crate) const REPORTED: usize = 5;

/// A target to check, with the statements that a run executes on it.
pub(crate) struct Subject<'a> {
    pub(crate) target: &'a Target,
    /// The oid of the table that the target names.
    pub(crate) oid: u32,
    /// The conditions of the target and of its reasons.
    pub(crate) conditions: &'a [ResolvedCondition],
    /// The tables that contain the rows of the target, each with one pass per reason why rows are
    /// due.
    pub(crate) leaves: &'a [(Leaf, Vec<PassSql>)],
    /// The maximum number of rows in a chunk.
    pub(crate) chunk: u32,
}

/// The result of the preflight checks of a target.
pub(crate) struct Examined {
    /// All findings, the most severe first.
    pub(crate) findings: Vec<Finding>,
    pub(crate) chunk_limits: ChunkLimits,
}

impl From<Finding> for Examined {
    fn from(finding: Finding) -> Self {
        Self { findings: vec![finding], chunk_limits: ChunkLimits::new() }
    }
}

/// The settings of the preflight checks.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// The size, in rows, up to which a statement may read a whole table.
    pub max_scan_rows: u64,
    /// Whether to override unsafe findings, as far as that is possible.
    pub force_unsafe: bool,
}

/// Examines a target. Returns an error only if the connection fails.
pub(crate) async fn examine(
    auxiliary: &AuxiliaryConnection,
    subject: &Subject<'_>,
    rules: Rules,
) -> Result<Examined, Error> {
    let began = Instant::now();
    loop {
        let error = match subject.examine(auxiliary, rules).await {
            Ok(Examined { findings, chunk_limits }) => {
                return Ok(Examined { findings: in_order(findings), chunk_limits });
            }
            Err(error) => error,
        };
        let table = subject.target.table.quoted();
        match DbError::of(&error) {
            DbError::Timeout(Bound::Lock) if began.elapsed() < WAIT_FOR_LOCK => {
                tokio::time::sleep(BACKOFF).await;
            }
            DbError::Timeout(bound) => return Ok(locked(&subject.target.table, bound).into()),
            changed @ DbError::Changed(_) => {
                let what = format!("{table} could not be examined: {changed}");
                return Ok(Finding::plain(Code::Unfit, what).into());
            }
            DbError::Rejected(Rejection { why, .. })
            | DbError::Gone(why)
            | DbError::Conflict(why)
            | DbError::Other(why) => {
                let what = format!("{table} could not be examined: {why}");
                return Ok(Finding::plain(Code::Unfit, what).into());
            }
            DbError::Lost(_) | DbError::Pooler => return Err(error),
        }
    }
}

/// Returns the finding for a table that could not be examined before the timeout `bound`, because
/// another session held a lock on the table or on a table that refers to it.
pub(crate) fn locked(table: &TableName, bound: Bound) -> Finding {
    Finding::new(
        Code::Locked,
        format!(
            "{}, or what refers to it, could not be looked at: {bound} reached",
            table.quoted()
        ),
        "another session, such as a migration or a VACUUM FULL, holds a lock on the table (pg_locks shows which one): try again when that session has released the lock",
    )
}

/// Sorts findings by severity and removes duplicates. Duplicates occur if several partitions have
/// the same problem.
fn in_order(findings: Vec<Finding>) -> Vec<Finding> {
    let mut once: Vec<Finding> = Vec::with_capacity(findings.len());
    for finding in findings {
        if !once.iter().any(|kept| kept.code == finding.code && kept.what == finding.what) {
            once.push(finding);
        }
    }
    once.sort_by_key(|finding| finding.level as u8);
    once
}

/// Returns the reason why a run skips a target, as one line of text.
pub(crate) fn why(blocking: &[&Finding]) -> String {
    let mut texts: Vec<String> = blocking.iter().take(REPORTED).map(ToString::to_string).collect();
    if blocking.len() > REPORTED {
        texts.push(format!(
            "and {} more, which `session-reaper check` tells",
            blocking.len() - REPORTED
        ));
    }
    texts.join("; ")
}

/// Returns the codes of the overridden findings on the server. If a run must not process any
/// target, returns an error that explains why.
pub(crate) fn pass_server(findings: &[Finding], rules: Rules) -> Result<Vec<Code>, String> {
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

/// Returns the finding for a target that could not be located, or for which no statements could be
/// built, because of `why`. If the role lacks the privilege to use the schema of the table, the
/// finding names the missing privilege.
pub(crate) async fn unfit(
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
