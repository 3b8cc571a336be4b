//! `plan`: shows the rows that a run would delete now.

use std::fmt::Write as _;

use chrono::{DateTime, Utc};

use super::print;
use crate::config::Output;
use crate::output::database::{WithDatabase, heading};
use crate::output::table::{columns, grouped, time};
use reaper::Exit;
use reaper::{Plan, PlannedReason, PlannedTarget, Sweep};

const HEAD: [&str; 8] =
    ["TARGET", "REASON", "DUE", "OLDEST FELL DUE", "NEWEST FELL DUE", "SHARE", "CHUNKS", "TIME"];

/// For each column of the table, `true` if it contains text (aligned left), and `false` if it
/// contains numbers (aligned right).
const WORDS: [bool; 8] = [true, true, false, true, true, false, false, false];

/// Counts the due rows and prints the plan.
pub async fn plan(sweep: &Sweep, sql: bool, output: Output) -> Exit {
    match sweep.plan(sql).await {
        Ok(plan) => {
            match output {
                Output::Text => print(&format!("{}\n{}", heading(&sweep.connect), text(&plan))),
                // The plan is serialized directly, because a `serde_json::Value` would sort the
                // members.
                Output::Json => {
                    let object = WithDatabase::new(&plan, &sweep.connect);
                    print(&format!("{}\n", serde_json::to_string(&object).unwrap_or_default()));
                }
            }
            if !plan.refused.is_empty()
                || plan.targets.iter().any(|target| !target.refused.is_empty())
            {
                Exit::Unsafe
            } else {
                Exit::Done
            }
        }
        Err(error) => {
            tracing::error!(event = error.event(), %error, "plan not computed");
            error.exit()
        }
    }
}

fn text(plan: &Plan) -> String {
    let rows: Vec<Vec<String>> = plan.targets.iter().flat_map(target_rows).collect();
    let mut text = columns(HEAD, WORDS, &rows);
    let capped = plan.targets.iter().flat_map(|target| &target.due).any(|reason| reason.capped);
    if capped {
        text.push_str("\n+ counting stopped at the cap and there are more rows; CHUNKS and TIME cover the counted rows\n");
    }
    // Writing to a `String` cannot fail.
    for finding in &plan.refused {
        let _ = writeln!(text, "\nnothing would be deleted: {}", finding.what);
        if let Some(remedy) = &finding.remedy {
            let _ = writeln!(text, "  → {remedy}");
        }
    }
    for target in &plan.targets {
        for finding in &target.refused {
            let _ = writeln!(text, "\n{} would be skipped: {}", target.target, finding.what);
            if let Some(remedy) = &finding.remedy {
                let _ = writeln!(text, "  → {remedy}");
            }
        }
    }
    for target in plan.targets.iter().filter(|target| !target.sql.is_empty()) {
        let _ = writeln!(
            text,
            "\n-- {}: the statements that find the end of a chunk and delete the chunk. The deletion works",
            target.target
        );
        let _ = writeln!(
            text,
            "-- only on the reaper's own connection, because it checks the connection's pid."
        );
        for statement in &target.sql {
            let _ = writeln!(text, "{statement}");
        }
    }
    text.push_str("\nnothing was deleted\n");
    text
}

/// Returns one line per reason. The first line also contains the values that apply to the whole
/// target.
fn target_rows(target: &PlannedTarget) -> Vec<Vec<String>> {
    if target.due.is_empty() {
        let mut cells = vec![String::new(); HEAD.len()];
        cells[0].clone_from(&target.target);
        "not counted".clone_into(&mut cells[1]);
        return vec![cells];
    }
    let share = target.share.map(|share| format!("{:.1} %", share * 100.0)).unwrap_or_default();
    let of_target = [share, grouped(target.chunks), time(target.estimated_ms)];
    let line = |(index, reason): (usize, &PlannedReason)| {
        let first = index == 0;
        let mut cells = vec![
            if first { target.target.clone() } else { String::new() },
            reason.reason.clone(),
            format!("{}{}", grouped(reason.rows), if reason.capped { "+" } else { "" }),
            moment(reason.oldest_due),
            moment(reason.newest_due),
        ];
        cells.extend(of_target.iter().map(|cell| if first { cell.clone() } else { String::new() }));
        cells
    };
    target.due.iter().enumerate().map(line).collect()
}

fn moment(time: Option<DateTime<Utc>>) -> String {
    time.map(reaper::time::text).unwrap_or_default()
}
