//! The lag of replicas.
//!
//! `pg_stat_replication.replay_lag` is updated only when a replica makes progress. While a replica
//! replays nothing, the value does not change, although its lag grows. Therefore, each check
//! records the position up to which the server has written WAL. If a replica has not yet replayed a
//! recorded position, its lag is at least the time since that position was recorded.
//!
//! The lag relative to positions before the first check is unknown. Therefore, the run deletes
//! nothing until each replica has replayed everything that was written before the run.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use tokio_postgres::{Error, Row};

use super::{ReplicaLimit, ThrottleCause, ThrottleReason, answer};
use crate::connection::auxiliary::AuxiliaryConnection;
use crate::observe::Observer;

/// The maximum number of recorded positions. If the maximum is reached, every second position is
/// dropped. The lag of a replica that is far behind is then known only to within a few percent.
const REMEMBERED: usize = 1_024;

/// Selects the replicas whose names are configured or, if no name is configured, all physical
/// replicas that replay WAL. A base backup has a different state, and a process that only receives
/// WAL (`pg_receivewal`) replays nothing. For a role without the privilege `pg_read_all_stats`, all
/// columns except the pid and the name are NULL.
const REPLICAS: &str =
    "SELECT coalesce(CASE WHEN r.application_name OPERATOR(pg_catalog.<>) '' THEN r.application_name END,
           r.client_addr::pg_catalog.text, r.pid::pg_catalog.text),
       (r.replay_lsn OPERATOR(pg_catalog.-) '0/0'::pg_catalog.pg_lsn)::bigint, r.pid
    FROM pg_catalog.pg_stat_replication AS r
        LEFT JOIN pg_catalog.pg_replication_slots AS s ON s.active_pid OPERATOR(pg_catalog.=) r.pid
    WHERE (r.state IS NULL OR (r.state OPERATOR(pg_catalog.=) ANY ('{streaming,catchup}') AND r.replay_lsn IS NOT NULL))
      AND CASE WHEN pg_catalog.cardinality($1::pg_catalog.text[]) OPERATOR(pg_catalog.>) 0
          THEN r.application_name OPERATOR(pg_catalog.=) ANY ($1)
          ELSE s.slot_type IS NULL OR s.slot_type OPERATOR(pg_catalog.<>) 'logical' END";

const WRITTEN: &str = "SELECT (pg_catalog.pg_current_wal_lsn() OPERATOR(pg_catalog.-) '0/0'::pg_catalog.pg_lsn)::bigint";

/// The state that is kept between checks.
#[derive(Debug, Default)]
pub(super) struct Replicas {
    positions: Positions,
    /// The process IDs of the WAL senders of replicas that have replayed everything that was
    /// written before the first check. Names do not identify replicas, because by default all
    /// replicas have the same name.
    proven: BTreeSet<i32>,
    hidden: bool,
}

impl Replicas {
    /// Whether the lag of a replica is hidden from this role.
    pub(super) fn are_hidden(&self) -> bool {
        self.hidden
    }

    pub(super) async fn check(
        &mut self,
        auxiliary: &AuxiliaryConnection,
        limit: &ReplicaLimit,
    ) -> Result<Option<ThrottleReason>, Error> {
        let observer = &*auxiliary.deadline.observer;
        if let Some(query) = &limit.query {
            let answer = answer(auxiliary, query).await?;
            return Ok(judge_answer(answer.as_deref(), limit.lag, observer));
        }
        let client = &auxiliary.client;
        // The written position is read before the replayed positions.
        let written: i64 = client.query_one(WRITTEN, &[]).await?.try_get(0)?;
        self.positions.note(Instant::now(), written);
        let rows = client.query(REPLICAS, &[&limit.names]).await?;
        let replicas: Vec<Replica> = rows.iter().map(Replica::of).collect();
        Ok(self.judge(Instant::now(), &replicas, limit, observer))
    }

    fn judge(
        &mut self,
        now: Instant,
        replicas: &[Replica],
        limit: &ReplicaLimit,
        observer: &dyn Observer,
    ) -> Option<ThrottleReason> {
        self.hidden = replicas.iter().any(|replica| replica.replayed.is_none());
        let missing =
            limit.names.iter().find(|name| !replicas.iter().any(|replica| replica.name == **name));
        let mut worst: Option<ThrottleReason> = missing.map(|name| {
            let why = format!("replica {name} of REPLICAS is not connected to this server");
            ThrottleReason::new(ThrottleCause::ReplicaLag, why)
        });
        let mut lags: BTreeMap<&str, Duration> = BTreeMap::new();
        for Replica { name, pid, replayed } in replicas {
            let Some(replayed) = *replayed else {
                if limit.asked_for {
                    let why = format!(
                        "the lag of replica {name} is hidden from this role: GRANT pg_read_all_stats to it"
                    );
                    worst.get_or_insert(ThrottleReason::new(ThrottleCause::ReplicaLag, why));
                }
                continue;
            };
            let lag = self.positions.lag(now, replayed);
            lags.entry(name).and_modify(|worst| *worst = lag.max(*worst)).or_insert(lag);
            if self.positions.first().is_none_or(|first| replayed >= first) {
                self.proven.insert(*pid);
            }
            let most = humantime::format_duration(limit.lag);
            if lag > limit.lag {
                let why = format!(
                    "replica {name} is {:.1} s behind, MAX_REPLICA_LAG is {most}",
                    lag.as_secs_f64()
                );
                worst = Some(ThrottleReason::new(ThrottleCause::ReplicaLag, why));
            } else if !self.proven.contains(pid) {
                let why =
                    format!("replica {name} has yet to replay what was written before this run");
                worst.get_or_insert(ThrottleReason {
                    soon: true,
                    ..ThrottleReason::new(ThrottleCause::ReplicaLag, why)
                });
            }
        }
        for (name, lag) in lags {
            observer.replica_lag(name, lag);
        }
        if let Some(least) = replicas.iter().filter_map(|replica| replica.replayed).min() {
            self.positions.forget_before(least);
        }
        worst
    }
}

struct Replica {
    name: String,
    /// The process ID of its WAL sender.
    pid: i32,
    /// The replayed position; `None` if it is hidden.
    replayed: Option<i64>,
}

impl Replica {
    fn of(row: &Row) -> Self {
        Self { name: row.get(0), replayed: row.get(1), pid: row.get(2) }
    }
}

/// Evaluates the result of a `REPLICA_LAG_QUERY`, which is the lag in seconds.
fn judge_answer(
    answer: Option<&str>,
    most: Duration,
    observer: &dyn Observer,
) -> Option<ThrottleReason> {
    let limit = humantime::format_duration(most);
    let why = match answer.map(|text| (text, text.trim().parse::<f64>())) {
        Some((_, Ok(seconds))) => {
            observer.replica_lag(
                "query",
                Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or_default(),
            );
            if seconds <= most.as_secs_f64() {
                return None;
            }
            format!("REPLICA_LAG_QUERY says {seconds} s, MAX_REPLICA_LAG is {limit}")
        }
        Some((text, Err(_))) => {
            format!("REPLICA_LAG_QUERY returned {text:?}: it must return a number of seconds")
        }
        None => {
            "REPLICA_LAG_QUERY returned no value: it must return a number of seconds".to_owned()
        }
    };
    Some(ThrottleReason::new(ThrottleCause::ReplicaLag, why))
}

/// Recorded WAL positions with their times.
#[derive(Debug, Default)]
struct Positions {
    first: Option<i64>,
    seen: VecDeque<(Instant, i64)>,
}

impl Positions {
    fn first(&self) -> Option<i64> {
        self.first
    }

    fn note(&mut self, now: Instant, written: i64) {
        self.first.get_or_insert(written);
        if self.seen.back().is_some_and(|(_, last)| *last >= written) {
            return;
        }
        if self.seen.len() >= REMEMBERED {
            let mut index = 0;
            self.seen.retain(|_| {
                index += 1;
                index % 2 == 1
            });
        }
        self.seen.push_back((now, written));
    }

    /// Returns the minimum lag of a replica that has replayed WAL up to the position `replayed`.
    fn lag(&self, now: Instant, replayed: i64) -> Duration {
        let oldest = self.seen.iter().find(|(_, written)| *written > replayed);
        oldest.map_or(Duration::ZERO, |(at, _)| now.saturating_duration_since(*at))
    }

    fn forget_before(&mut self, replayed: i64) {
        while self.seen.len() > 1
            && self.seen.front().is_some_and(|(_, written)| *written <= replayed)
        {
            self.seen.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::NoObserver;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn limit(names: &[&str], asked_for: bool) -> ReplicaLimit {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        ReplicaLimit { lag: 10 * SECOND, asked_for, names, query: None }
    }

    fn a(replayed: i64) -> [Replica; 1] {
        [Replica { name: "a".to_owned(), pid: 1, replayed: Some(replayed) }]
    }

    #[test]
    fn lag_of_a_replica_that_replays_nothing_grows() {
        let (mut replicas, start, limit) = (Replicas::default(), Instant::now(), limit(&[], false));
        replicas.positions.note(start, 100);
        assert_eq!(replicas.judge(start, &a(100), &limit, &NoObserver), None);
        for second in 1..=11 {
            replicas.positions.note(start + second * SECOND, 100 + i64::from(second));
            assert_eq!(
                replicas.judge(start + second * SECOND, &a(100), &limit, &NoObserver),
                None,
                "{second}"
            );
        }
        let why = replicas.judge(start + 12 * SECOND, &a(100), &limit, &NoObserver).unwrap().why;
        assert_eq!(why, "replica a is 11.0 s behind, MAX_REPLICA_LAG is 10s");
        assert_eq!(
            replicas.judge(start + 12 * SECOND, &a(111), &limit, &NoObserver),
            None,
            "the replica has caught up"
        );
    }

    #[test]
    fn replica_must_replay_earlier_wal_before_the_first_chunk() {
        let (mut replicas, start, limit) = (Replicas::default(), Instant::now(), limit(&[], false));
        replicas.positions.note(start, 100);
        assert!(replicas.judge(start, &a(99), &limit, &NoObserver).unwrap().soon);
        replicas.positions.note(start + SECOND, 200);
        assert!(replicas.judge(start + SECOND, &a(99), &limit, &NoObserver).unwrap().soon);
        assert_eq!(replicas.judge(start + SECOND, &a(100), &limit, &NoObserver), None);
        assert_eq!(
            replicas.judge(start + 2 * SECOND, &a(100), &limit, &NoObserver),
            None,
            "once is enough"
        );
    }

    #[test]
    fn replicas_with_the_same_name_are_checked_separately() {
        let (mut replicas, start, limit) = (Replicas::default(), Instant::now(), limit(&[], false));
        let both = |one, other| {
            [(1, one), (2, other)].map(|(pid, replayed)| Replica {
                name: "a".to_owned(),
                pid,
                replayed: Some(replayed),
            })
        };
        replicas.positions.note(start, 100);
        assert!(replicas.judge(start, &both(100, 99), &limit, &NoObserver).unwrap().soon);
        assert_eq!(replicas.judge(start, &both(100, 100), &limit, &NoObserver), None);
    }

    #[test]
    fn hidden_lag_throttles_only_if_configured() {
        let (mut replicas, now) = (Replicas::default(), Instant::now());
        let hidden = [Replica { name: "a".to_owned(), pid: 1, replayed: None }];
        replicas.positions.note(now, 100);
        assert_eq!(replicas.judge(now, &hidden, &limit(&[], false), &NoObserver), None);
        assert!(replicas.are_hidden());
        assert!(
            replicas
                .judge(now, &hidden, &limit(&[], true), &NoObserver)
                .unwrap()
                .why
                .contains("GRANT pg_read_all_stats")
        );
        assert!(
            replicas
                .judge(now, &[], &limit(&["b"], true), &NoObserver)
                .unwrap()
                .why
                .contains("b of REPLICAS is not connected")
        );
    }

    #[test]
    fn replica_lag_query_returns_seconds() {
        assert_eq!(judge_answer(Some("9.5"), 10 * SECOND, &NoObserver), None);
        assert_eq!(
            judge_answer(Some("11"), 10 * SECOND, &NoObserver).unwrap().why,
            "REPLICA_LAG_QUERY says 11 s, MAX_REPLICA_LAG is 10s"
        );
        for no_number in [None, Some(""), Some("00:00:11")] {
            assert!(
                judge_answer(no_number, 10 * SECOND, &NoObserver)
                    .unwrap()
                    .why
                    .contains("a number of seconds"),
                "{no_number:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn lag_is_exact_to_one_check_and_never_overestimated(
            steps in prop::collection::vec((1_u64..5_000, 0_i64..50), 1..3_000),
            replayed in 0_i64..2_000,
        ) {
            let (mut positions, mut now, mut written) = (Positions::default(), Instant::now(), 0);
            let looks = steps.len();
            let mut since: Option<Instant> = None;
            for (ms, bytes) in steps {
                now += Duration::from_millis(ms);
                written += bytes;
                positions.note(now, written);
                if written > replayed {
                    since.get_or_insert(now);
                }
                prop_assert!(positions.seen.len() <= REMEMBERED);
            }
            let truth = since.map_or(Duration::ZERO, |since| now - since);
            let lag = positions.lag(now, replayed);
            prop_assert!(lag <= truth);
            prop_assert!(looks > REMEMBERED || lag == truth, "{lag:?} {truth:?}");
        }
    }
}
