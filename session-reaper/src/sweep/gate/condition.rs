//! The condition of a target, as PostgreSQL wrote it out.

use super::finding::{Code, Finding};
use crate::sweep::condition::ResolvedCondition;

/// Reports how PostgreSQL reads `where`, and what in it another role could make do anything with the reaper's privileges.
pub(super) fn judge(condition: &ResolvedCondition) -> Vec<Finding> {
    let mut findings = vec![Finding::plain(Code::Condition, format!("`where` means: {}", condition.sql()))];
    findings.extend(condition.foreign().iter().map(|foreign| {
        Finding::new(
            Code::ForeignCondition,
            format!(
                "`where` uses the {}, which belongs to {}: what it does, it would do with the privileges of the reaper",
                foreign.what, foreign.owner
            ),
            "write the name that is meant with its schema and cast values to exact types, or have the object owned by the \
             table's owner; drop it if nobody knows it",
        )
    }));
    findings
}
