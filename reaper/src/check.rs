//! The `check` command. It performs the steps of a run that precede the first delete.

use serde::Serialize;

use crate::connection::Connections;
use crate::connection::db_error::DbError;
use crate::error::SweepError;
use crate::interrupt::Interrupt;
use crate::preflight::{self, Code, Finding};
use crate::run::Sweep;
use crate::stop_reason::StopReason;

/// The result of `check`. The names and the order of the fields are part of the output format.
#[derive(Clone, Debug, Serialize)]
pub struct Checked {
    /// Whether the server and every target are safe.
    pub safe: bool,
    /// The findings that apply to all targets.
    pub server: CheckedServer,
    /// The targets, in the order in which a run processes them. Empty if a pooler is between
    /// session-reaper and the server.
    pub targets: Vec<CheckedTarget>,
}

/// The findings on the server.
#[derive(Clone, Debug, Serialize)]
pub struct CheckedServer {
    /// Whether a run may use the server.
    pub safe: bool,
    /// The findings, unsafe ones first.
    pub findings: Vec<Finding>,
}

/// The findings on a target.
#[derive(Clone, Debug, Serialize)]
pub struct CheckedTarget {
    /// The name of the target in reports.
    pub target: String,
    /// The table of the target.
    pub table: String,
    /// Whether a run may process the target.
    pub safe: bool,
    /// The findings, unsafe ones first.
    pub findings: Vec<Finding>,
}

impl Sweep {
    /// Checks the server and every target, and changes nothing. Returns an error if the database
    /// cannot be reached, or if the targets do not apply to it.
    pub async fn check(&self) -> Result<Checked, SweepError> {
        let Connections { lock_connection, auxiliary, started_at, pooled, .. } =
            self.open(&Interrupt::never()).await?;
        if pooled {
            // Through a pooler, statements would run in different server processes and with
            // different settings.
            return Ok(pooler());
        }
        let proof = self.prove(&lock_connection).await?;
        let examined = async {
            let server = preflight::server::examine(&auxiliary).await?;
            Ok((
                server,
                self.examined(&lock_connection, &auxiliary, started_at, proof.as_ref()).await?,
            ))
        };
        let (server, target_runs) = match examined.await {
            Ok(examined) => examined,
            // Some poolers switch to another server process only when other clients need one, so a
            // pooler may be detected only here.
            Err(error) if DbError::of(&error) == DbError::Pooler => return Ok(pooler()),
            Err(error) => return Err(SweepError::lost(&error)),
        };
        let targets = target_runs.into_iter().map(|target_run| CheckedTarget {
            target: target_run.target.name.clone(),
            table: target_run.target.table.quoted(),
            safe: !target_run.findings.iter().any(Finding::is_unsafe),
            findings: target_run.findings,
        });
        Ok(Checked::new(server, targets.collect()))
    }
}

fn pooler() -> Checked {
    Checked::new(vec![Finding::plain(Code::Pooler, StopReason::Pooler.to_string())], Vec::new())
}

impl Checked {
    fn new(server: Vec<Finding>, targets: Vec<CheckedTarget>) -> Self {
        let server =
            CheckedServer { safe: !server.iter().any(Finding::is_unsafe), findings: server };
        Self { safe: server.safe && targets.iter().all(|target| target.safe), server, targets }
    }
}
