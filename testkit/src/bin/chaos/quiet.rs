//! The invariants (c) and (e), which must hold after the writers have ended. The other invariants
//! are in [`super::invariants`].
//!
//! - (c) Every due row that is not locked is deleted within two runs, and the report contains the
//!   number of remaining due rows.
//! - (e) No lock and no server process of a reaper is left behind, and the row of every run in
//!   `reaper_runs` is complete.

use std::sync::Arc;

use tokio_postgres::Client;

use crate::Result;
use crate::invariants::Violation;
use crate::plan::{Plan, Reaper};
use crate::reapers::{Run, Shared, Slot, run};
use crate::writers::connect;

/// Runs each reaper twice, while no other program is active except one transaction that locks some
/// rows.
pub(crate) async fn reap(
    plan: &Plan,
    url: &str,
    reapers: &Shared,
    slots: &[Arc<Slot>],
    found: &mut Vec<Violation>,
) -> Result<Vec<Run>> {
    let (client, holder) = (connect(url).await?, connect(url).await?);
    let held =
        "SELECT uid FROM app.t WHERE due_at < chaos.at(-4 * 86400) ORDER BY uid LIMIT 3 FOR UPDATE";
    holder.batch_execute("BEGIN").await?;
    let held: Vec<i64> = holder
        .query(held, &[])
        .await?
        .iter()
        .map(|row| row.try_get(0))
        .collect::<std::result::Result<_, _>>()?;
    let mut runs = Vec::new();
    for (index, slot) in slots.iter().enumerate() {
        let reaper = &slot.plan;
        let began = now(&client).await?;
        runs.push(run(reapers, index, slot, plan.proxied).await?);
        let again = now(&client).await?;
        let last = run(reapers, index, slot, plan.proxied).await?;
        let left = due(&client, plan, reaper, &held, began).await?;
        // More rows may have become due during the run.
        let fewest = due(&client, plan, reaper, &[], again).await?.len() as u64;
        let most = due(&client, plan, reaper, &[], now(&client).await?).await?.len() as u64;
        let runs_text =
            format!("runs {} and {} (exit code {:?})", last.number - 1, last.number, last.code);
        let targets = last.report["targets"].as_array().into_iter().flatten();
        let target = targets
            .filter(|target| target["target"] != "reaper_runs")
            .map(|target| target["remaining"].as_u64());
        let remaining = target.flatten().next();
        if last.code != Some(0) {
            found.push(Violation {
                code: "c-exit",
                what: format!("{runs_text} did not succeed: {}", last.report["why"]),
            });
        } else if !left.is_empty() {
            found.push(Violation {
                code: "c-left",
                what: format!("{runs_text} left due rows that are not locked: {left:?}"),
            });
        } else if !remaining.is_some_and(|remaining| (fewest..=most).contains(&remaining)) {
            let what = format!("{runs_text} left {fewest} due rows but report {remaining:?}");
            found.push(Violation { code: "c-report", what });
        }
        runs.push(last);
    }
    holder.batch_execute("ROLLBACK").await?;
    Ok(runs)
}

async fn now(client: &Client) -> Result<f64> {
    Ok(client
        .query_one("SELECT extract(epoch FROM clock_timestamp())::float8", &[])
        .await?
        .try_get(0)?)
}

/// Returns the rows that a reaper should delete at the time `at`. Rows whose deletion is impossible
/// while the rows `held` are locked are not included.
async fn due(
    client: &Client,
    plan: &Plan,
    reaper: &Reaper,
    held: &[i64],
    at: f64,
) -> Result<Vec<i64>> {
    let unit = if plan.tables.millis { "1000" } else { "1" };
    let value = |column: &str| {
        if plan.tables.millis {
            format!("t.{column}")
        } else {
            format!("extract(epoch FROM t.{column})::float8")
        }
    };
    let reasons: Vec<String> = reaper
        .reasons()
        .iter()
        .map(|(column, keep)| format!("{} < ($1::float8 - {keep} * 86400) * {unit}", value(column)))
        .collect();
    let filter = reaper.filter().unwrap_or_else(|| "true".to_owned());
    let goes = format!("(({}) IS TRUE AND ({filter}) AND t.uid <> ALL ($2))", reasons.join(" OR "));
    let table = if reaper.table == "t" { "app.t" } else { reaper.table };
    let together = if reaper.group {
        // Evaluate each group only once, because a large group has ten thousand rows.
        format!(
            "AND (t.grp IS NULL OR t.grp NOT IN (SELECT t.grp FROM {table} t WHERE NOT {goes} AND t.grp IS NOT NULL))"
        )
    } else {
        String::new()
    };
    let sql = format!("SELECT t.uid FROM {table} t WHERE {goes} {together} ORDER BY t.uid");
    let rows = client.query(&sql, &[&at, &held]).await?;
    Ok(rows.iter().map(|row| row.try_get(0)).collect::<std::result::Result<_, _>>()?)
}

/// Checks (e): nothing is left behind when no reaper runs.
pub(crate) async fn left_behind(client: &Client, found: &mut Vec<Violation>) -> Result {
    let what = [
        ("e-backend", "SELECT pid::text FROM pg_stat_activity WHERE application_name LIKE 'chaos-%'"),
        ("e-lock", "SELECT pid || ' holds ' || objid FROM pg_locks WHERE locktype = 'advisory' AND granted
             AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"),
        ("e-prepared", "SELECT gid FROM pg_prepared_xacts WHERE database = current_database()"),
        ("e-history", "SELECT id::text FROM reaper_runs WHERE (finished_at IS NULL) <> (outcome IS NULL)
             OR (finished_at IS NOT NULL AND (report->>'run_id' IS DISTINCT FROM id::text OR report->>'outcome' IS DISTINCT FROM outcome))"),
    ];
    for (code, sql) in what {
        // The server detects only after a moment that a client has exited.
        let mut rows = client.query(sql, &[]).await?;
        for _ in 0..1_200 {
            if rows.is_empty() {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            rows = client.query(sql, &[]).await?;
        }
        for row in rows {
            found.push(Violation { code, what: row.try_get(0)? });
        }
    }
    Ok(())
}
