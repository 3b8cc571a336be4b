//! Saves the trace of a round that violated an invariant: its plan, its history, and the logs of
//! its reapers.

use std::fmt::Write as _;
use std::path::Path;

use crate::Result;
use crate::history::History;
use crate::invariants::Violation;
use crate::plan::Plan;
use crate::reapers::Run;

/// Writes the plan and the history to the file `SEED.txt`, and the log of each run to a file in the
/// directory `SEED`.
pub(crate) fn write(
    directory: &Path,
    plan: &Plan,
    history: &History,
    runs: &[Run],
    violations: &[Violation],
) -> Result {
    let logs = directory.join(plan.seed.to_string());
    std::fs::create_dir_all(&logs)?;
    let mut text = format!("{plan:#?}\n\n");
    for reaper in &plan.reapers {
        let _ = writeln!(text, "{}", reaper.config(&plan.tables));
    }
    for violation in violations {
        let _ = writeln!(text, "{violation}");
    }
    let mut commits: Vec<_> = history.commits.iter().map(|(xid, place)| (*place, *xid)).collect();
    commits.sort_unstable();
    text.push_str("\nCommits, in order:");
    for (_, xid) in commits {
        let _ = write!(text, " {xid}");
    }
    text.push_str("\n\nOperations:\n");
    for operation in &history.operations {
        let _ = writeln!(text, "{operation:?}");
    }
    text.push_str("\nDeletes:\n");
    for delete in &history.deletes {
        let _ = writeln!(text, "{delete:?}");
    }
    text.push_str("\nVersions of rows:\n");
    let mut rows: Vec<_> = history.rows.iter().collect();
    rows.sort_unstable_by_key(|(uid, _)| **uid);
    for (uid, versions) in rows {
        let _ = writeln!(text, "{uid}: {versions:?}");
    }
    text.push_str("\nVersions of orders:\n");
    let mut orders: Vec<_> = history.orders.iter().collect();
    orders.sort_unstable_by_key(|(id, _)| **id);
    for (id, versions) in orders {
        let _ = writeln!(text, "{id}: {versions:?}");
    }
    text.push_str("\nRuns:\n");
    for run in runs {
        let (number, slot, code, took) = (run.number, run.slot, run.code, run.took);
        let _ = writeln!(text, "{number}: reaper {slot}, {code:?}, {took:?}, {}", run.report);
        std::fs::write(logs.join(format!("run-{number}.log")), &run.stderr)?;
    }
    std::fs::write(directory.join(format!("{}.txt", plan.seed)), text)?;
    Ok(())
}
