//! The report of a run: the object that `run --output json` prints, that is stored in
//! `reaper_runs.report`, and that `status` and `plan` read.
//!
//! The history may contain reports that other versions of session-reaper have written. Therefore, a
//! missing field gets its default, an unknown field is ignored, and an unknown outcome is
//! [`ReportedOutcome::Other`].

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr as _;

use chrono::{DateTime, Utc};
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use uuid::Uuid;

use crate::backlog::state::BacklogState;
use crate::store::runs::Outcome;

/// The report of a run. The names and the order of the fields are a stable interface.
///
/// # The outcome of a run
///
/// 1. `interrupted` if a signal ended the work on a target. Only the interrupted targets are named
///    in `why`.
/// 2. `failed` if the run itself could not continue (for example, because its connection was lost,
///    or because it is connected through a pooler in transaction mode). Also `failed` if at least
///    one target failed and no target was completed or partially processed. A target whose lock
///    another reaper holds does not count as completed.
/// 3. `partial` if a target failed and another one was completed or partially processed. Also
///    `partial` if due rows are left because a limit or the maximum wait for a throttle was
///    reached.
/// 4. `paused` if a pause lasted longer than the maximum wait.
/// 5. `skipped_lock` if another reaper holds the locks of all targets.
/// 6. `success` otherwise: all rows that could be deleted were deleted. The outcome is also
///    `success` if other transactions had locked some rows, or if other reapers held the locks of
///    some targets; `why` mentions them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RunReport {
    /// The id of the row in `reaper_runs`.
    pub run_id: Uuid,
    /// The outcome, as described above, or `running`.
    pub outcome: ReportedOutcome,
    /// A description of the outcome. Never empty.
    pub why: String,
    /// When the run began, by the database's clock. Due rows are determined relative to this time.
    pub started_at: DateTime<Utc>,
    /// The elapsed time, in milliseconds.
    pub elapsed_ms: u64,
    /// The targets, in the order in which they were processed.
    pub targets: Vec<TargetReport>,
    /// The number of rows of all targets that were due at the start of the run. Present only while
    /// the run is active.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub due: Option<u64>,
    /// Whether more than `due` rows were due, because counting stopped at the cap. Present only
    /// while the run is active.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub due_capped: Option<bool>,
    /// The throttle that makes the run wait. Present only while the run waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting: Option<ReportedWait>,
}

/// The report of one target.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TargetReport {
    /// The name of the target.
    pub target: String,
    /// `success`, `partial` (due rows are left because a limit was reached or a throttle lasted too
    /// long), `paused`, `skipped_lock`, `failed` or `interrupted`; `running` while the target is
    /// being processed.
    pub outcome: ReportedOutcome,
    /// A description of the outcome. Never empty.
    pub why: String,
    /// The number of rows deleted for each reason. A row that was due for several reasons is
    /// counted only for the first of these reasons.
    #[serde(serialize_with = "as_map", deserialize_with = "from_map")]
    pub deleted: Vec<(String, u64)>,
    /// The number of rows whose columns were set for each reason, if the target sets columns
    /// instead of deleting rows. Omitted otherwise.
    #[serde(serialize_with = "as_map", deserialize_with = "from_map")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub changed: Vec<(String, u64)>,
    /// The number of chunks: the transactions that found due rows.
    pub chunks: u64,
    /// The number of due rows that were skipped because other transactions had locked them. Some of
    /// them may have been deleted when they were retried at the end.
    pub skipped_locked: u64,
    /// The number of due rows that were left because their deletion fails: `foreign_key` for rows
    /// that another table references, `trigger` for rows for which a trigger raises an error, and
    /// `error` for all other rows. Omitted if there are none.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub held: BTreeMap<String, u64>,
    /// The number of due rows that were left after the run, including locked rows. `None` while the
    /// run is active.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remaining: Option<u64>,
    /// Whether more than `remaining` rows are left, because counting stopped at the cap.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remaining_capped: Option<bool>,
    /// How reliable `remaining` is: `at_least` or `unknown`. Omitted if `remaining` is exact.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remaining_state: Option<BacklogState>,
    /// The elapsed time, in milliseconds. `None` while the run is active.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub elapsed_ms: Option<u64>,
    /// The durations of the target's chunks. Omitted if there were no chunks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chunk_ms: Option<ChunkTimes>,
    /// The number of rows that were deleted from the target's `children`. Omitted for a target
    /// without children.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub children: Option<u64>,
    /// The tables whose outcome differs from the outcome of the target. Omitted if there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub detail: Vec<TableDetail>,
    /// Tables from which ON DELETE CASCADE may have deleted rows that were not due: tables of this
    /// target or of another target. These rows are not counted. Omitted if there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub uncounted_cascades: Vec<String>,
    /// The codes of the unsafe findings that were overridden. Omitted if there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub forced: Vec<String>,
}

/// One table of a target, such as a partition.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TableDetail {
    /// The schema-qualified name of the table.
    pub table: String,
    /// `skipped_lock` if another reaper holds the lock of the table or of one of the target's child
    /// tables.
    pub outcome: ReportedOutcome,
}

/// The durations of a target's chunks, in milliseconds, from the probe (the query that finds the
/// end of a chunk) to the commit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ChunkTimes {
    /// The mean duration.
    pub mean: f64,
    /// The longest duration.
    pub max: f64,
}

/// A throttle that makes a run wait.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ReportedWait {
    /// The throttle cause: a value of [`crate::ThrottleCause`], or a value that another version
    /// wrote.
    pub cause: String,
    /// A description with the measured values.
    pub why: String,
    /// When the wait began, by the clock of the run's host.
    pub since: Option<DateTime<Utc>>,
}

/// The outcome of a run or of a target in a report.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ReportedOutcome {
    /// The run or the target has not ended.
    #[default]
    Running,
    /// The run or the target has ended with this outcome.
    Ended(Outcome),
    /// An outcome that another version wrote and this version does not know.
    Other(String),
}

impl ReportedOutcome {
    const RUNNING: &str = "running";

    /// Returns the outcome as written in the report.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Running => Self::RUNNING,
            Self::Ended(outcome) => outcome.as_str(),
            Self::Other(word) => word,
        }
    }

    /// Returns the outcome of a run or target that has ended. Returns `None` if the run or target
    /// is still active, or if another version wrote an outcome that this version does not know.
    #[must_use]
    pub fn ended(&self) -> Option<Outcome> {
        match self {
            Self::Ended(outcome) => Some(*outcome),
            Self::Running | Self::Other(_) => None,
        }
    }

    /// Parses the outcome as stored in a report or in `reaper_runs.outcome`.
    #[must_use]
    pub fn of(word: &str) -> Self {
        match Outcome::from_str(word) {
            Ok(outcome) => Self::Ended(outcome),
            Err(_) if word == Self::RUNNING => Self::Running,
            Err(_) => Self::Other(word.to_owned()),
        }
    }
}

impl From<Outcome> for ReportedOutcome {
    fn from(outcome: Outcome) -> Self {
        Self::Ended(outcome)
    }
}

impl PartialEq<Outcome> for ReportedOutcome {
    fn eq(&self, other: &Outcome) -> bool {
        matches!(self, Self::Ended(outcome) if outcome == other)
    }
}

impl Serialize for ReportedOutcome {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for ReportedOutcome {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self::of(&String::deserialize(deserializer)?))
    }
}

impl RunReport {
    /// Reads a stored report. Returns `None` if it was not written by session-reaper.
    #[must_use]
    pub fn read(stored: &Value) -> Option<Self> {
        Self::deserialize(stored).ok().filter(|_| stored.is_object())
    }

    /// Returns the number of rows deleted from all targets.
    #[must_use]
    pub fn deleted_rows(&self) -> u64 {
        self.targets.iter().map(TargetReport::deleted_rows).sum()
    }

    /// Returns the number of rows of all targets whose columns were set.
    #[must_use]
    pub fn changed_rows(&self) -> u64 {
        self.targets.iter().map(TargetReport::changed_rows).sum()
    }

    /// Returns the report of a target.
    #[must_use]
    pub fn target(&self, name: &str) -> Option<&TargetReport> {
        self.targets.iter().find(|target| target.target == name)
    }
}

impl TargetReport {
    /// Returns the number of rows deleted for all reasons.
    #[must_use]
    pub fn deleted_rows(&self) -> u64 {
        self.deleted.iter().map(|(_, rows)| rows).sum()
    }

    /// Returns the number of rows whose columns were set for all reasons.
    #[must_use]
    pub fn changed_rows(&self) -> u64 {
        self.changed.iter().map(|(_, rows)| rows).sum()
    }
}

fn as_map<S: Serializer>(entries: &[(String, u64)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(entries.iter().map(|(name, rows)| (name, rows)))
}

/// Reads an object and keeps the order of its entries.
fn from_map<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<(String, u64)>, D::Error> {
    struct Entries;

    impl<'de> Visitor<'de> for Entries {
        type Value = Vec<(String, u64)>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object of counts")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut entries = Vec::new();
            while let Some(entry) = map.next_entry()? {
                entries.push(entry);
            }
            Ok(entries)
        }
    }

    deserializer.deserialize_map(Entries)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Reports that released versions have written.
    const FIXTURES: [(&str, &str); 3] = [
        ("0.1.0, ended", include_str!("fixtures/0.1.0-ended.json")),
        ("0.1.0, running", include_str!("fixtures/0.1.0-running.json")),
        ("0.1.0, killed", include_str!("fixtures/0.1.0-killed.json")),
    ];

    #[test]
    fn reports_of_each_release_are_read_and_written_unchanged() {
        for (name, text) in FIXTURES {
            let stored: Value = serde_json::from_str(text).unwrap();
            let report = RunReport::read(&stored).expect(name);
            assert_eq!(serde_json::to_value(&report).unwrap(), stored, "{name}");
        }
    }

    #[test]
    fn order_of_reasons_is_kept() {
        let text = r#"{"targets": [{"deleted": {"revoked": 2, "expired": 1}}]}"#;
        let report: RunReport = serde_json::from_str(text).unwrap();
        let reasons = [("revoked".to_owned(), 2), ("expired".to_owned(), 1)];
        assert_eq!(report.targets[0].deleted, reasons);
    }

    #[test]
    fn report_of_a_newer_version_is_read() {
        let stored = json!({
            "outcome": "postponed",
            "mood": {"good": true},
            "targets": [{"target": "t", "outcome": "success", "held": {"foreign_key": 3}}],
            "waiting": {"cause": "moon", "until": 5},
        });
        let report = RunReport::read(&stored).unwrap();
        assert_eq!(report.outcome, ReportedOutcome::Other("postponed".to_owned()));
        assert_eq!(report.target("t").unwrap().outcome, Outcome::Success);
        assert_eq!(report.waiting.unwrap().cause, "moon");
        assert_eq!(report.run_id, Uuid::nil());
    }

    #[test]
    fn anything_else_is_not_a_report() {
        for stored in [json!(null), json!([]), json!("x"), json!({"targets": 5})] {
            assert_eq!(RunReport::read(&stored), None, "{stored}");
        }
    }
}
