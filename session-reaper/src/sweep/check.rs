//! What `check` does: all that a run does before its first delete, and nothing after it.

use serde::Serialize;

use super::connection::Connections;
use super::db_error::DbError;
use super::error::SweepError;
use super::preflight::{self, Code, Finding};
use super::run::Sweep;
use super::stop_reason::StopReason;

/// What was found. The names and the order of its members are an interface.
#[derive(Clone, Debug, Serialize)]
pub struct Checked {
    /// Every target can be worked on.
    pub safe: bool,
    /// What holds for all of them.
    pub server: CheckedServer,
    /// In the order in which they would be worked on; none when the server is reached through a
    /// pooler.
    pub targets: Vec<CheckedTarget>,
}

/// What was found of the server.
#[derive(Clone, Debug, Serialize)]
pub struct CheckedServer {
    /// It is one to work on.
    pub safe: bool,
    /// Unsafe ones first.
    pub findings: Vec<Finding>,
}

/// What was found of a target.
#[derive(Clone, Debug, Serialize)]
pub struct CheckedTarget {
    /// Its name in reports.
    pub target: String,
    /// Its table.
    pub table: String,
    /// It can be worked on.
    pub safe: bool,
    /// Unsafe ones first.
    pub findings: Vec<Finding>,
}

impl Sweep {
    /// Looks at the server and at every target, and changes nothing. Fails when the database cannot
    /// be reached, or is not one that the targets apply to.
    pub async fn check(&self) -> Result<Checked, SweepError> {
        let Connections { lock_connection, auxiliary, started_at, pooled, .. } =
            Connections::open(&self.connect, self.bounds, &self.names()).await?;
        if pooled {
            // What is asked would be asked of different processes, and under other settings.
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
            // One that changes processes only when others want them.
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
