//! The record of earlier runs on a target, which the first-run guard and the every-run guard keep
//! in `reaper_state`.
//!
//! The key of the record includes everything that determines which rows are deleted. If any part of
//! the key changes, an earlier confirmation no longer applies.

use std::fmt::Write as _;

use crate::store::state;
use pg::error_text::chain;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::connection::auxiliary::AuxiliaryConnection;
use crate::target::name::Ident;
use crate::target::{Ancient, ChildTable, Target};

/// The number of runs for which the deleted fraction of the table is recorded.
pub(super) const RUNS: usize = 3;

/// The every-run guard applies only if each of the recorded runs deleted less than this fraction of
/// the table.
const HALF: f64 = 0.5;

/// The record of earlier runs on a target.
pub(crate) struct Guard {
    key: String,
    record: Record,
    /// Whether the table `reaper_state`, which stores the record, exists.
    kept: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Record {
    /// Whether an earlier run has deleted rows of the target.
    worked: bool,
    /// Whether an operator has confirmed that nearly all of the table may be deleted.
    confirmed: bool,
    /// The fraction of the table that each of the last complete runs deleted, oldest run first.
    shares: Vec<f64>,
}

impl Guard {
    /// Reads the record. If reading fails, the target is treated as if no run had worked on it.
    pub(crate) async fn of(auxiliary: &AuxiliaryConnection, target: &Target, oid: u32) -> Self {
        let mut first_run_guard =
            Self { key: String::new(), record: Record::default(), kept: false };
        let Some(table) = qualified(auxiliary, oid).await else { return first_run_guard };
        first_run_guard.key = key(target, &table);
        match auxiliary
            .deadline
            .with(1, state::get(&auxiliary.client, &auxiliary.own, &first_run_guard.key))
            .await
        {
            Ok(found) => {
                first_run_guard.kept = true;
                first_run_guard.record =
                    found.and_then(|found| serde_json::from_value(found).ok()).unwrap_or_default();
            }
            Err(error) => tracing::debug!(
                event = "state_read_failed",
                error = chain(&error),
                "reaper_state not read"
            ),
        }
        first_run_guard
    }

    /// Returns whether no run has deleted rows and no operator has confirmed that nearly all rows
    /// may be deleted.
    pub(crate) fn is_first(&self) -> bool {
        !self.record.worked && !self.record.confirmed
    }

    /// Returns whether each of the last runs deleted less than half of the table.
    pub(crate) fn is_steady(&self) -> bool {
        self.record.shares.len() >= RUNS
            && self.record.shares.iter().all(|table_share| *table_share < HALF)
    }

    /// Records a confirmation. If `unusual` is `true`, the every-run guard would have skipped the
    /// target. In this case, the fractions that earlier runs deleted are removed from the record,
    /// so that the guard no longer compares runs with them.
    pub(crate) async fn confirm(&mut self, auxiliary: &AuxiliaryConnection, unusual: bool) {
        let mut record = Record { confirmed: true, ..self.record.clone() };
        if unusual {
            record.shares.clear();
        }
        self.keep(auxiliary, record).await;
    }

    /// Records the result of a run. `table_share` is the fraction of the table that the run
    /// deleted, if the run was complete and the fraction is known.
    pub(crate) async fn finish(
        &mut self,
        auxiliary: &AuxiliaryConnection,
        deleted: bool,
        table_share: Option<f64>,
    ) {
        let mut record = self.record.clone();
        record.worked |= deleted;
        if let Some(table_share) = table_share {
            record.shares.push((table_share * 1_000.0).round() / 1_000.0);
            let old = record.shares.len().saturating_sub(RUNS);
            record.shares.drain(..old);
        }
        let unchanged = record.worked == self.record.worked
            && self.is_steady()
            && table_share.is_none_or(|table_share| table_share < HALF);
        if !unchanged {
            self.keep(auxiliary, record).await;
        }
    }

    async fn keep(&mut self, auxiliary: &AuxiliaryConnection, record: Record) {
        if record == self.record {
            return;
        }
        if self.kept {
            let mut value = json!(record);
            value["version"] = json!(env!("CARGO_PKG_VERSION"));
            if let Err(error) = auxiliary
                .deadline
                .with(1, state::put(&auxiliary.client, &auxiliary.own, &self.key, &value))
                .await
            {
                tracing::debug!(
                    event = "state_write_failed",
                    error = chain(&error),
                    "reaper_state not written"
                );
            }
        }
        self.record = record;
    }
}

/// Returns the schema and the name of the table, independent of the `search_path`.
async fn qualified(auxiliary: &AuxiliaryConnection, oid: u32) -> Option<[String; 2]> {
    const NAME: &str = "SELECT n.nspname::pg_catalog.text, c.relname::pg_catalog.text
        FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
        WHERE c.oid OPERATOR(pg_catalog.=) $1";
    let row = auxiliary.row(NAME, &[&oid]).await.ok().flatten()?;
    Some([row.try_get(0).ok()?, row.try_get(1).ok()?])
}

/// Returns the key of a target in `reaper_state`. The key includes a hash of everything that
/// determines which rows are deleted, and not the condition itself, because a condition may be too
/// long for an index entry.
fn key(target: &Target, table: &[String; 2]) -> String {
    let reasons: Vec<_> = target
        .reasons
        .iter()
        .map(|reason| {
            let (zone, unit) =
                (reason.zone.map(chrono_tz::Tz::name), reason.unit.map(|unit| format!("{unit:?}")));
            let keep = reason.keep.as_nanos().to_string();
            let mut decides =
                vec![json!(reason.column.as_str()), json!(keep), json!(zone), json!(unit)];
            // Earlier versions supported no condition of a reason.
            decides.extend(reason.filter.as_ref().map(|filter| json!(filter)));
            json!(decides)
        })
        .collect();
    let children: Vec<_> = target
        .children
        .iter()
        .map(|ChildTable { table, columns }| match columns.as_slice() {
            // Earlier versions supported only one column.
            [column] => json!([table.to_string(), column.as_str()]),
            columns => {
                let columns: Vec<&str> = columns.iter().map(Ident::as_str).collect();
                json!([table.to_string(), columns])
            }
        })
        .collect();
    let group = target.group.as_ref().map(Ident::as_str);
    let ancient = match target.ancient {
        // With either value, the same rows are deleted.
        Ancient::Refuse | Ancient::Keep => "keep",
        Ancient::Due => "due",
    };
    let mut decides = vec![
        json!(table),
        json!(reasons),
        json!(target.filter),
        json!(group),
        json!(children),
        json!(ancient),
    ];
    // Earlier versions could only delete rows. Which values are set does not matter.
    let set: Vec<&str> = target.set.iter().map(|set| set.column.as_str()).collect();
    decides.extend((!set.is_empty()).then(|| json!(set)));
    let decides = json!(decides).to_string();
    let mut key = format!("guard:{}:", target.name);
    for byte in &Sha256::digest(decides.as_bytes())[..16] {
        let _ = write!(key, "{byte:02x}");
    }
    key
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::target::name::TableName;
    use crate::target::{Reason, Unit};

    fn target() -> Target {
        let reason = Reason { name: "old".into(), ..Reason::new("due", Duration::from_hours(24)) };
        Target::new(TableName::new("t"), vec![reason])
    }

    #[test]
    fn key_depends_only_on_what_decides_the_rows() {
        let place = ["public".to_owned(), "t".to_owned()];
        let same = key(&target(), &place);
        let reason = |change: fn(&mut Reason)| {
            let mut other = target();
            change(&mut other.reasons[0]);
            other
        };
        for other in [
            reason(|reason| reason.column = Ident::new("made")),
            reason(|reason| reason.keep = Duration::from_hours(23)),
            reason(|reason| reason.zone = Some(chrono_tz::UTC)),
            reason(|reason| reason.unit = Some(Unit::Milliseconds)),
            Target { filter: Some("t.used".into()), ..target() },
            Target { group: Some(Ident::new("family")), ..target() },
            Target {
                children: vec![ChildTable {
                    table: TableName { schema: None, name: Ident::new("u") },
                    columns: vec![Ident::new("t_id")],
                }],
                ..target()
            },
            Target { ancient: Ancient::Due, ..target() },
        ] {
            assert_ne!(key(&other, &place), same, "{other:?}");
        }
        assert_ne!(key(&target(), &["other".to_owned(), "t".to_owned()]), same);
        for alike in [
            reason(|reason| reason.name = "expired".into()),
            Target {
                chunk: Some(7),
                confirmed: true,
                location: Some("reaper.toml:1:1".into()),
                ..target()
            },
        ] {
            assert_eq!(key(&alike, &place), same, "{alike:?}");
        }
    }
}
