//! Throttles: conditions under which a run waits, such as a lagging replica. A run checks them
//! before a chunk (the transaction that deletes rows), about once a second, and waits while one of
//! them is active.

pub(crate) mod cause;
mod operator_pause;
mod replicas;
mod server;

use std::fmt;
use std::time::{Duration, Instant};

use tokio_postgres::Error;

pub use cause::ThrottleCause;

use crate::connection::auxiliary::{AuxiliaryConnection, after};
use crate::connection::db_error::DbError;
use replicas::Replicas;

/// The interval at which an active run checks its throttles. A check consists of two to four small
/// queries on the auxiliary connection, which take about a millisecond. The load that a run can
/// cause between two checks is acceptable.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// A reason to wait: its cause and the measured values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ThrottleReason {
    pub(crate) cause: ThrottleCause,
    pub(crate) why: String,
    /// Whether the cause may disappear within moments. If so, the first intervals between checks
    /// are short.
    pub(crate) soon: bool,
}

impl ThrottleReason {
    fn new(cause: ThrottleCause, why: impl Into<String>) -> Self {
        Self { cause, why: why.into(), soon: false }
    }
}

impl fmt::Display for ThrottleReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.cause.as_str(), self.why)
    }
}

/// The configured throttles.
#[derive(Clone, Debug)]
pub struct ThrottleLimits {
    /// The limit for replicas; `None` to ignore their lag.
    pub replicas: Option<ReplicaLimit>,
    /// The maximum number of active client backends, not counting the reaper's own connections.
    pub max_active: Option<u32>,
    /// Whether to wait while a vacuum of the table is running.
    pub vacuum: bool,
    /// A query whose result determines whether to wait.
    pub query: Option<String>,
    /// The maximum uninterrupted wait, regardless of its causes.
    pub longest_wait: Duration,
}

/// The limit for the lag of replicas.
#[derive(Clone, Debug)]
pub struct ReplicaLimit {
    /// The maximum lag of each replica that is checked.
    pub lag: Duration,
    /// Whether the limit is configured explicitly. If so, the run also waits if the lag of a
    /// replica is hidden from the role.
    pub asked_for: bool,
    /// The `application_name`s of the replicas to check. If empty, all physical replicas are
    /// checked.
    pub names: Vec<String>,
    /// A query that returns the lag in seconds. If it is set, the lag is not read from
    /// `pg_stat_replication`.
    pub query: Option<String>,
}

/// Checks the configured throttles and keeps their state between checks.
pub(crate) struct Throttle {
    limits: ThrottleLimits,
    auxiliary: AuxiliaryConnection,
    replicas: Replicas,
    checked: Option<Instant>,
    warned: Vec<&'static str>,
}

impl Throttle {
    pub(crate) fn new(limits: ThrottleLimits, auxiliary: &AuxiliaryConnection) -> Self {
        Self {
            limits,
            auxiliary: auxiliary.clone(),
            replicas: Replicas::default(),
            checked: None,
            warned: Vec::new(),
        }
    }

    /// Replaces the limits, and makes the next check due immediately.
    pub(crate) fn set_limits(&mut self, limits: ThrottleLimits) {
        self.limits = limits;
        self.checked = None;
    }

    /// Replaces the connection on which the throttles are checked.
    pub(crate) fn moved_to(&mut self, auxiliary: &AuxiliaryConnection) {
        self.auxiliary = auxiliary.clone();
        // The connection may lead to another server, whose WAL positions are unrelated.
        self.replicas = Replicas::default();
        self.checked = None;
    }

    pub(crate) fn longest_wait(&self) -> Duration {
        self.limits.longest_wait
    }

    /// Whether it is time for the next check.
    pub(crate) fn is_due(&self) -> bool {
        self.checked.is_none_or(|checked| checked.elapsed() >= CHECK_INTERVAL)
    }

    /// Checks all throttles and returns the first reason to wait before these tables are processed.
    pub(crate) async fn check(&mut self, tables: &[u32]) -> Result<Option<ThrottleReason>, Error> {
        let found = self.first_reason(tables).await;
        self.checked = Some(Instant::now());
        found
    }

    /// Returns a reason to wait if a pause is set.
    pub(crate) async fn pause(&self) -> Result<Option<ThrottleReason>, Error> {
        let AuxiliaryConnection { client, deadline, own, .. } = &self.auxiliary;
        match deadline.with(1, crate::store::pause::get(client, own)).await {
            Ok(found) => Ok(operator_pause::throttle_reason(found)),
            Err(error) if crate::store::runs::is_absent(&error) => Ok(None),
            Err(error) => unknown_state(
                ThrottleCause::Pause,
                "whether there is a pause, in reaper_state,",
                error,
            ),
        }
    }

    async fn first_reason(&mut self, tables: &[u32]) -> Result<Option<ThrottleReason>, Error> {
        if let Some(throttle_reason) = self.pause().await? {
            return Ok(Some(throttle_reason));
        }
        if let Some(limit) = &self.limits.replicas {
            let seen =
                self.auxiliary.deadline.with(1, self.replicas.check(&self.auxiliary, limit)).await;
            let asked_for = limit.asked_for;
            match seen {
                Ok(found) if found.is_some() => return Ok(found),
                Ok(_) => {}
                Err(error) => {
                    if let Some(throttle_reason) = unknown_state(
                        ThrottleCause::ReplicaLag,
                        "how far replicas are behind",
                        error,
                    )?
                    .filter(|_| asked_for)
                    {
                        return Ok(Some(throttle_reason));
                    }
                }
            }
            if self.replicas.are_hidden() {
                self.warn("replicas", || {
                    tracing::warn!(
                        event = "replica_lag_hidden",
                        "replica lag is hidden from this role and is ignored; GRANT pg_read_all_stats to check it"
                    );
                });
            }
        }
        if let Some(most) = self.limits.max_active {
            match self
                .auxiliary
                .deadline
                .with(1, server::active(&self.auxiliary.client, most))
                .await
            {
                Ok(None) => {}
                Ok(found) => return Ok(found),
                Err(error) => {
                    return unknown_state(
                        ThrottleCause::Busy,
                        "how many backends are active",
                        error,
                    );
                }
            }
        }
        if self.limits.vacuum {
            match self
                .auxiliary
                .deadline
                .with(1, server::vacuum(&self.auxiliary.client, tables))
                .await
            {
                Ok(None) => {}
                Ok(found) => return Ok(found),
                Err(error) => {
                    return unknown_state(
                        ThrottleCause::Vacuum,
                        "whether a vacuum is running",
                        error,
                    );
                }
            }
        }
        if let Some(query) = &self.limits.query {
            return match self.auxiliary.deadline.with(1, answer(&self.auxiliary, query)).await {
                Ok(answer) => Ok(judge_answer(answer.as_deref())),
                Err(error) => unknown_state(ThrottleCause::Query, "THROTTLE_QUERY", error),
            };
        }
        Ok(None)
    }

    fn warn(&mut self, what: &'static str, log: impl FnOnce()) {
        if !self.warned.contains(&what) {
            self.warned.push(what);
            log();
        }
    }
}

/// Returns a reason to wait if the state of a throttle cannot be read, because an unknown state
/// must not permit deletions. Returns an error if the connection was lost.
fn unknown_state(
    cause: ThrottleCause,
    what: &str,
    error: Error,
) -> Result<Option<ThrottleReason>, Error> {
    match DbError::of(&error) {
        DbError::Lost(_) => Err(error),
        error => {
            Ok(Some(ThrottleReason::new(cause, format!("{what} could not be asked: {error}"))))
        }
    }
}

/// Returns the first value of a user's query, as text. The query runs with the configured
/// `search_path`, in a read-only transaction.
async fn answer(auxiliary: &AuxiliaryConnection, query: &str) -> Result<Option<String>, Error> {
    let text = format!("BEGIN READ ONLY; {}; {query}\n; COMMIT", auxiliary.local_path());
    let answer = match auxiliary.client.simple_query(&text).await {
        Ok(answer) => answer,
        Err(error) => {
            // The result is ignored, because a lost connection requires no rollback.
            let _ = auxiliary.client.batch_execute("ROLLBACK").await;
            return Err(error);
        }
    };
    // The results of BEGIN and of setting the `search_path` come first.
    let row = after(&answer, 2).next();
    Ok(row.and_then(|row| row.text(0).map(str::to_owned)))
}

/// Evaluates the result of a `THROTTLE_QUERY`. If the query returns no row, NULL, false, 0, a
/// negative number or an empty text, the run continues. Any other value is a reason to wait. If the
/// value is a text, it describes the reason.
fn judge_answer(answer: Option<&str>) -> Option<ThrottleReason> {
    let answer = answer.map(str::trim)?;
    if matches!(answer, "" | "f" | "false")
        || answer.parse::<f64>().is_ok_and(|number| number <= 0.0)
    {
        return None;
    }
    let why = if matches!(answer, "t" | "true") {
        "THROTTLE_QUERY returned true".to_owned()
    } else {
        format!("THROTTLE_QUERY says {answer}")
    };
    Some(ThrottleReason::new(ThrottleCause::Query, why))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn query_result_determines_whether_to_wait() {
        for on in [
            None,
            Some(""),
            Some("f"),
            Some("false"),
            Some("0"),
            Some("0.0"),
            Some("-1"),
            Some(" "),
        ] {
            assert_eq!(judge_answer(on), None, "{on:?}");
        }
        for (wait, why) in [
            ("t", "THROTTLE_QUERY returned true"),
            ("3", "THROTTLE_QUERY says 3"),
            ("a backup", "THROTTLE_QUERY says a backup"),
        ] {
            assert_eq!(judge_answer(Some(wait)).unwrap().why, why);
        }
    }
}
