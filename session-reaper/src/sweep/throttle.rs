//! What a run makes way for: it looks before a chunk, about once a second, and waits as long as
//! there is a cause.

mod pause;
mod replicas;
mod server;

use std::fmt;
use std::time::{Duration, Instant};

use tokio_postgres::Error;

use super::auxiliary::{AuxiliaryConnection, after};
use super::db_error::DbError;
use replicas::Replicas;

/// How often a run at work looks. A look is two to four small questions, a millisecond on a
/// connection of their own; what it does in a second can be borne.
const EVERY: Duration = Duration::from_secs(1);

/// What it waits for: the closed set of the metrics' label `cause`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ThrottleCause {
    /// The share of time that is left to others.
    DutyCycle,
    /// A replica that is behind.
    ReplicaLag,
    /// A server with much to do.
    Busy,
    /// A vacuum of the table that is being worked on.
    Vacuum,
    /// A query of the user's.
    Query,
    /// Somebody's word.
    Pause,
}

impl ThrottleCause {
    /// All of them, for metrics that are created at start.
    pub const ALL: [Self; 6] =
        [Self::DutyCycle, Self::ReplicaLag, Self::Busy, Self::Vacuum, Self::Query, Self::Pause];

    /// As it stands in labels, reports and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::DutyCycle => "duty_cycle",
            Self::ReplicaLag => "replica_lag",
            Self::Busy => "busy",
            Self::Vacuum => "vacuum",
            Self::Query => "query",
            Self::Pause => "pause",
        }
    }

    /// It is one table's alone: others can be worked on meanwhile.
    pub(super) fn is_of_one_target(self) -> bool {
        self == Self::Vacuum
    }
}

/// A cause to wait, with what was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ThrottleReason {
    pub(super) cause: ThrottleCause,
    pub(super) why: String,
    /// It may be over in a moment: worth another look at once.
    pub(super) soon: bool,
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

/// What to make way for.
#[derive(Clone, Debug)]
pub struct ThrottleLimits {
    /// Replicas; `None` to let them lag.
    pub replicas: Option<ReplicaLimit>,
    /// Client back ends at work at the most, but for the reaper's own.
    pub max_active: Option<u32>,
    /// Whether to wait for a vacuum of the table.
    pub vacuum: bool,
    /// A query whose answer says whether to wait.
    pub query: Option<String>,
    /// How long to wait in a row, whatever for.
    pub longest_wait: Duration,
}

/// How far replicas may be behind.
#[derive(Clone, Debug)]
pub struct ReplicaLimit {
    /// Of any that counts.
    pub lag: Duration,
    /// Somebody asked for it: not to be able to see a replica is a cause to wait, too.
    pub asked_for: bool,
    /// Their `application_name`s; none for every physical one.
    pub names: Vec<String>,
    /// A query that tells the lag in seconds, instead of `pg_stat_replication`.
    pub query: Option<String>,
}

/// What a run looks at, and what it remembers of it.
pub(super) struct Throttle {
    limits: ThrottleLimits,
    auxiliary: AuxiliaryConnection,
    replicas: Replicas,
    looked: Option<Instant>,
    warned: Vec<&'static str>,
}

impl Throttle {
    pub(super) fn new(limits: ThrottleLimits, auxiliary: &AuxiliaryConnection) -> Self {
        Self {
            limits,
            auxiliary: auxiliary.clone(),
            replicas: Replicas::default(),
            looked: None,
            warned: Vec::new(),
        }
    }

    /// Asks on another connection from here on.
    pub(super) fn moved_to(&mut self, auxiliary: &AuxiliaryConnection) {
        self.auxiliary = auxiliary.clone();
        // It may be to another server, whose log of writes is another one.
        self.replicas = Replicas::default();
        self.looked = None;
    }

    pub(super) fn longest_wait(&self) -> Duration {
        self.limits.longest_wait
    }

    /// It is time for another look.
    pub(super) fn is_due(&self) -> bool {
        self.looked.is_none_or(|looked| looked.elapsed() >= EVERY)
    }

    /// The first thing that stands in the way of work on these tables.
    pub(super) async fn look(&mut self, tables: &[u32]) -> Result<Option<ThrottleReason>, Error> {
        let found = self.look_around(tables).await;
        self.looked = Some(Instant::now());
        found
    }

    /// Whether somebody said to pause.
    pub(super) async fn pause(&self) -> Result<Option<ThrottleReason>, Error> {
        let AuxiliaryConnection { client, deadline, own, .. } = &self.auxiliary;
        match deadline.with(1, schema::pause::get(client, own)).await {
            Ok(found) => Ok(pause::throttle_reason(found)),
            Err(error) if schema::runs::is_absent(&error) => Ok(None),
            Err(error) => unanswered(
                ThrottleCause::Pause,
                "whether there is a pause, in reaper_state,",
                error,
            ),
        }
    }

    async fn look_around(&mut self, tables: &[u32]) -> Result<Option<ThrottleReason>, Error> {
        if let Some(throttle_reason) = self.pause().await? {
            return Ok(Some(throttle_reason));
        }
        if let Some(limit) = &self.limits.replicas {
            let seen =
                self.auxiliary.deadline.with(1, self.replicas.look(&self.auxiliary, limit)).await;
            let asked_for = limit.asked_for;
            match seen {
                Ok(found) if found.is_some() => return Ok(found),
                Ok(_) => {}
                Err(error) => {
                    if let Some(throttle_reason) =
                        unanswered(ThrottleCause::ReplicaLag, "how far replicas are behind", error)?
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
                        "replica lag is hidden from this role and is not waited for; GRANT pg_read_all_stats"
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
                    return unanswered(
                        ThrottleCause::Busy,
                        "how many back ends are at work",
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
                    return unanswered(ThrottleCause::Vacuum, "whether a vacuum is at work", error);
                }
            }
        }
        if let Some(query) = &self.limits.query {
            return match self.auxiliary.deadline.with(1, answer(&self.auxiliary, query)).await {
                Ok(answer) => Ok(says_wait(answer.as_deref())),
                Err(error) => unanswered(ThrottleCause::Query, "THROTTLE_QUERY", error),
            };
        }
        Ok(None)
    }

    fn warn(&mut self, what: &'static str, say: impl FnOnce()) {
        if !self.warned.contains(&what) {
            self.warned.push(what);
            say();
        }
    }
}

/// What cannot be known is no leave to go on. A connection that was lost is another matter.
fn unanswered(
    cause: ThrottleCause,
    what: &str,
    error: Error,
) -> Result<Option<ThrottleReason>, Error> {
    match DbError::of(&error) {
        DbError::Lost(_) => Err(error),
        trouble => {
            Ok(Some(ThrottleReason::new(cause, format!("{what} could not be asked: {trouble}"))))
        }
    }
}

/// The first value of a user's query, as text. On the configured search path, in a transaction that
/// writes nothing.
async fn answer(auxiliary: &AuxiliaryConnection, query: &str) -> Result<Option<String>, Error> {
    let text = format!("BEGIN READ ONLY; {}; {query}\n; COMMIT", auxiliary.local_path());
    let answer = match auxiliary.client.simple_query(&text).await {
        Ok(answer) => answer,
        Err(error) => {
            // A connection that is gone needs none.
            let _ = auxiliary.client.batch_execute("ROLLBACK").await;
            return Err(error);
        }
    };
    // After BEGIN and what sets the path.
    let row = after(&answer, 2).next();
    Ok(row.and_then(|row| row.text(0).map(str::to_owned)))
}

/// Reads what a `THROTTLE_QUERY` answered: no row, NULL, false, 0 and nothing let the run go on;
/// anything else is a cause to wait, and a text is why.
fn says_wait(answer: Option<&str>) -> Option<ThrottleReason> {
    let answer = answer.map(str::trim)?;
    if matches!(answer, "" | "f" | "false")
        || answer.parse::<f64>().is_ok_and(|number| number <= 0.0)
    {
        return None;
    }
    let why = if matches!(answer, "t" | "true") {
        "THROTTLE_QUERY says so".to_owned()
    } else {
        format!("THROTTLE_QUERY says {answer}")
    };
    Some(ThrottleReason::new(ThrottleCause::Query, why))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_as_a_user_would_mean_it() {
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
            assert_eq!(says_wait(on), None, "{on:?}");
        }
        for (wait, why) in [
            ("t", "THROTTLE_QUERY says so"),
            ("3", "THROTTLE_QUERY says 3"),
            ("a backup", "THROTTLE_QUERY says a backup"),
        ] {
            assert_eq!(says_wait(Some(wait)).unwrap().why, why);
        }
    }
}
