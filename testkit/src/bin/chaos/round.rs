//! Performs one round, from creating its tables to checking its invariants.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use fastrand::Rng;
use testkit::{Database, Proxy, Server};

use crate::Result;
use crate::history::History;
use crate::invariants::{Judge, Violation};
use crate::nemeses::{Done, Scene};
use crate::plan::{Nemesis, Plan};
use crate::reapers::{self, Run, Slot};
use crate::tables::SLOT;
use crate::writers::{self, connect};
use crate::{quiet, trace};

/// The results of a round.
pub(crate) struct Outcome {
    pub(crate) violations: Vec<Violation>,
    pub(crate) done: Done,
    pub(crate) operations: u64,
    pub(crate) runs: u64,
    pub(crate) deleted: u64,
    pub(crate) transactions: u64,
}

/// Number of rows in a large group (rows that are deleted only together). The reaper locks at most
/// 10,000 rows of groups in a chunk (transaction).
const LARGE_GROUP: i64 = 10_200;

/// Performs a round on a new database.
pub(crate) async fn play(
    server: &mut Server,
    plan: &Plan,
    binary: &Path,
    traces: &Path,
) -> Result<Outcome> {
    let database = server.database().await;
    let played = on(server, &database, plan, binary, traces).await;
    // A database that has a replication slot cannot be dropped.
    let client = connect(&database.url()).await?;
    let drop =
        "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = $1";
    client.execute(drop, &[&SLOT]).await?;
    played
}

async fn on(
    server: &mut Server,
    database: &Database,
    plan: &Plan,
    binary: &Path,
    traces: &Path,
) -> Result<Outcome> {
    let mut rng = Rng::with_seed(plan.seed.wrapping_mul(31));
    let client = connect(&database.url()).await?;
    plan.tables.create(&client).await?;
    let rows = i64::from(plan.rows);
    plan.tables.fill(&client, "app.t", 1..rows + 1, &mut rng).await?;
    let mut next = rows + 1;
    if plan.large_group {
        plan.tables.large_group(&client, next..next + LARGE_GROUP).await?;
        next += LARGE_GROUP;
    }

    let (proxy, through) = Proxy::before(&database.url()).await;
    let reapers = Arc::new(reapers::Shared {
        binary: binary.to_owned(),
        url: database.url(),
        through,
        runs: AtomicI32::new(1),
        quiet: AtomicBool::new(false),
        disturbances: AtomicU64::new(0),
    });
    let mut slots = Vec::new();
    for reaper in &plan.reapers {
        let config = tempfile::NamedTempFile::new()?;
        std::fs::write(config.path(), reaper.config(&plan.tables))?;
        slots.push(Arc::new(Slot { plan: reaper.clone(), config, current: Mutex::default() }));
    }
    let shared = Arc::new(writers::Shared {
        url: database.url(),
        tables: plan.tables,
        next: AtomicI64::new(next),
        committed: AtomicU64::new(0),
        failed: AtomicU64::new(0),
    });

    let reaping: Vec<_> = (0..)
        .zip(&slots)
        .map(|(n, slot)| {
            tokio::spawn(reapers::reap(Arc::clone(&reapers), n, Arc::clone(slot), plan.proxied))
        })
        .collect();
    let writing: Vec<_> = plan
        .writers
        .iter()
        .map(|writer| tokio::spawn(writers::write(Arc::clone(&shared), *writer, rng.u64(..))))
        .collect();
    let done = Done::default();
    let mut scene = Scene {
        plan,
        server,
        proxy: &proxy,
        slots: &slots,
        reapers: &reapers,
        writers: &shared,
        done,
    };
    scene.play(&mut rng).await?;
    let done = scene.done;
    for writer in writing {
        writer.await??;
    }
    reapers.quiet.store(true, Ordering::SeqCst);
    let mut runs: Vec<Run> = Vec::new();
    for reaper in reaping {
        runs.extend(reaper.await??);
    }

    let mut violations = Vec::new();
    runs.extend(quiet::reap(plan, &database.url(), &reapers, &slots, &mut violations).await?);
    let client = connect(&database.url()).await?;
    quiet::left_behind(&client, &mut violations).await?;
    if done.stayed > 0 {
        violations.push(Violation {
            code: "e-backend",
            what: format!("{} killed reapers left a backend behind", done.stayed),
        });
    }
    let history = History::read(&client).await?;
    let mut judge = Judge::new(plan, &history, &runs, plan.nemeses.contains(&Nemesis::Crash));
    judge.judge();
    violations.append(&mut judge.found);
    if !violations.is_empty() {
        trace::write(traces, plan, &history, &runs, &violations)?;
    }
    Ok(Outcome {
        violations,
        done,
        operations: shared.committed.load(Ordering::Relaxed),
        runs: runs.len() as u64,
        deleted: history.deletes.len() as u64,
        transactions: history.commits.len() as u64,
    })
}
