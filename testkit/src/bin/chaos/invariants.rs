//! The invariants that the history of a round must satisfy. Those that are checked when the writers
//! have ended, (c) and (e), are in [`super::quiet`].
//!
//! - (a) Every deleted row was due when it was deleted, and belonged to the table on which the
//!   reaper held the lock.
//! - (b) The snapshot of the statement that deleted a row shows no live sibling of that row, that
//!   is, no row of the same group that is not due. A live sibling that the snapshot does not show
//!   is permitted only if its writer had not yet updated or locked an existing row of the group.
//!   The same applies to the rows that `where` reads.
//! - (d) Only one reaper works on a table at a time, each row is deleted once, and the reports
//!   match the recorded deletes.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt;

use crate::decode::Row;
use crate::history::{Delete, Deleted, History, Operation, Snapshot};
use crate::plan::{Plan, Reaper};
use crate::reapers::Run;

/// A violation of an invariant.
#[derive(Debug)]
pub(crate) struct Violation {
    /// A stable code.
    pub(crate) code: &'static str,
    /// A description, with the numbers of the rows, runs and transactions.
    pub(crate) what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.what)
    }
}

/// The history, and the data needed to check it.
pub(crate) struct Judge<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) history: &'a History,
    pub(crate) runs: &'a [Run],
    /// Whether the server has crashed, so that asynchronous commits may have been lost.
    pub(crate) crashed: bool,
    pub(crate) found: Vec<Violation>,
    reaper_of: HashMap<i32, usize>,
    /// The operations that updated or locked each row.
    touching: HashMap<i64, Vec<&'a Operation>>,
    /// Large groups that were already checked, each with the transaction that deleted rows from the
    /// group.
    judged: HashSet<(u64, i64)>,
}

const MICROSECONDS: f64 = 1e6;

/// A group with more members than this is checked once for each transaction, instead of once for
/// each deleted row.
const LARGE: usize = 1_000;

impl<'a> Judge<'a> {
    pub(crate) fn new(
        plan: &'a Plan,
        history: &'a History,
        runs: &'a [Run],
        crashed: bool,
    ) -> Self {
        let reaper_of = runs.iter().map(|run| (run.number, run.slot)).collect();
        let mut touching: HashMap<i64, Vec<&Operation>> = HashMap::new();
        for operation in &history.operations {
            for uid in &operation.touched {
                touching.entry(*uid).or_default().push(operation);
            }
        }
        Self {
            plan,
            history,
            runs,
            crashed,
            found: Vec::new(),
            reaper_of,
            touching,
            judged: HashSet::new(),
        }
    }

    fn note(&mut self, code: &'static str, what: String) {
        self.found.push(Violation { code, what });
    }

    /// Checks all invariants.
    pub(crate) fn judge(&mut self) {
        for delete in &self.history.deletes {
            let Some(slot) = self.reaper_of.get(&delete.run) else {
                self.note("d-unknown-run", format!("unknown run {} deleted rows", delete.run));
                continue;
            };
            let reaper = &self.plan.reapers[*slot];
            match delete.what {
                Deleted::Row { uid, row } => {
                    self.due(reaper, delete, uid, row);
                    self.located(reaper, delete, uid);
                    self.together(reaper, delete, uid, row);
                }
                Deleted::Child { id, parent } => self.child(reaper, delete, id, parent),
                // Orders are deleted only by cascades.
                Deleted::Order => {}
            }
        }
        if !self.history.unlogged.is_empty() {
            let what = format!("rows were deleted without a record: {:?}", self.history.unlogged);
            self.note("d-unlogged", what);
        }
        self.alone();
        self.once();
        self.reports();
    }

    /// Checks (a): the row was due.
    fn due(&mut self, reaper: &Reaper, delete: &Delete, uid: i64, row: Row) {
        if !reaper.is_due(row, delete.at) {
            let Delete { run, at, xid, .. } = delete;
            self.note(
                "a-not-due",
                format!("run {run} deleted row {uid} at {at} in {xid}, which was not due: {row:?}"),
            );
        }
    }

    /// Checks (a): the row was in the table on which the run held the lock, or in a partition of
    /// that table.
    fn located(&mut self, reaper: &Reaper, delete: &Delete, uid: i64) {
        let named = |oid: &u32| {
            if reaper.table == "app.t_p0" {
                Some(*oid) == self.history.partition
            } else {
                self.history.targets.contains(oid)
            }
        };
        if !delete.roots.iter().any(|oid| delete.locks.contains(oid) && named(oid)) {
            let Delete { run, relation, roots, locks, xid, .. } = delete;
            self.note(
                "a-not-located",
                format!(
                    "run {run} deleted row {uid} in {xid} from table {relation} with ancestors {roots:?}, while it \
                     held the locks of {locks:?}"
                ),
            );
        }
    }

    /// Checks (a): a child row is deleted only if its parent is due.
    fn child(&mut self, reaper: &Reaper, delete: &Delete, id: i64, parent: i64) {
        let row = self.history.row(parent, &delete.snapshot, None);
        if !row.is_some_and(|row| reaper.is_due(row, delete.at)) {
            let Delete { run, xid, .. } = delete;
            self.note(
                "a-child",
                format!("run {run} deleted child {id} in {xid}, whose parent {parent} is {row:?}"),
            );
        }
    }

    /// Checks (b): the deleted row had no live sibling and no open order.
    fn together(&mut self, reaper: &Reaper, delete: &Delete, uid: i64, row: Row) {
        if !reaper.group && !reaper.open_orders_stay {
            return;
        }
        let (snapshot, history) = (&delete.snapshot, self.history);
        if let Some(group) = row.group.filter(|_| reaper.group)
            && history.members.get(&group).is_some_and(|members| members.len() > LARGE)
            && !self.judged.insert((delete.xid, group))
        {
            return;
        }
        let members: BTreeSet<i64> = match row.group.filter(|_| reaper.group) {
            Some(group) => {
                let of_group = |uid: &i64| {
                    history.row(*uid, snapshot, None).is_some_and(|row| row.group == Some(group))
                };
                history
                    .members
                    .get(&group)
                    .into_iter()
                    .flatten()
                    .copied()
                    .filter(of_group)
                    .chain([uid])
                    .collect()
            }
            None => BTreeSet::from([uid]),
        };
        for member in &members {
            if let Some(why) = self.stays(reaper, delete, row.group, *member, uid, snapshot, None) {
                let Delete { run, xid, .. } = delete;
                let code = if *member == uid { "b-where-seen" } else { "b-group-seen" };
                self.note(
                    code,
                    format!("run {run} deleted row {uid} in {xid} by {snapshot:?}, which shows that {member} {why}"),
                );
                return;
            }
        }
        // Check the writers whose changes the snapshot does not show, but that had already updated
        // or locked an existing row of the group.
        let Some(committed) = history.commits.get(&delete.xid) else { return };
        let writers: BTreeSet<u64> = members
            .iter()
            .flat_map(|member| self.touching.get(member).into_iter().flatten())
            .filter(|operation| !snapshot.sees(operation.xid))
            .filter(|operation| {
                let before =
                    history.commits.get(&operation.xid).is_some_and(|writer| writer < committed);
                before || operation.at < delete.at
            })
            .map(|operation| operation.xid)
            .collect();
        for writer in writers {
            let group = row.group.filter(|_| reaper.group);
            let joined = group.and_then(|group| history.members.get(&group)).into_iter().flatten();
            let all: BTreeSet<i64> = members.iter().chain(joined).copied().collect();
            for member in all {
                if let Some(why) =
                    self.stays(reaper, delete, row.group, member, uid, snapshot, Some(writer))
                {
                    let (run, xid) = (delete.run, delete.xid);
                    let kinds: Vec<&str> = history
                        .operations
                        .iter()
                        .filter(|operation| operation.xid == writer)
                        .map(|operation| operation.kind.as_str())
                        .collect();
                    let code = if member == uid { "b-where-touched" } else { "b-group-touched" };
                    self.note(
                        code,
                        format!(
                            "run {run} deleted row {uid} in {xid} by {snapshot:?}, though {writer} ({}) had touched its \
                             group and says that {member} {why}",
                            kinds.join(", ")
                        ),
                    );
                    return;
                }
            }
        }
    }

    /// Returns why `member` prevents the deletion of `deleted`, or `None` if it does not. This is
    /// evaluated for the snapshot, with the changes of the transaction `beside` in addition.
    #[allow(clippy::too_many_arguments, reason = "each is one fact of the decision")]
    fn stays(
        &self,
        reaper: &Reaper,
        delete: &Delete,
        group: Option<i64>,
        member: i64,
        deleted: i64,
        snapshot: &Snapshot,
        beside: Option<u64>,
    ) -> Option<String> {
        let row = self.history.row(member, snapshot, beside)?;
        if member != deleted {
            if row.group != group {
                return None;
            }
            if !reaper.is_due(row, delete.at) {
                return Some(format!("is live: {row:?}"));
            }
        }
        let ordered =
            reaper.open_orders_stay && self.history.has_open_order(member, snapshot, beside);
        ordered.then(|| "has an open order".to_owned())
    }

    /// Checks (d): if a server process of one run deletes from a table twice, no other run deletes
    /// from that table in between.
    fn alone(&mut self) {
        let mut of_table: HashMap<u32, Vec<(usize, &Delete)>> = HashMap::new();
        for delete in &self.history.deletes {
            if let (Deleted::Row { .. }, Some(place)) =
                (delete.what, self.history.commits.get(&delete.xid))
            {
                of_table.entry(delete.relation).or_default().push((*place, delete));
            }
        }
        let mut found = Vec::new();
        for (table, mut deletes) in of_table {
            deletes.sort_by_key(|(place, _)| *place);
            let mut last_of: HashMap<(i32, i32), usize> = HashMap::new();
            for (index, (_, delete)) in deletes.iter().enumerate() {
                let process = (delete.run, delete.pid);
                if let Some(last) = last_of.insert(process, index)
                    && let Some((_, other)) =
                        deletes[last..index].iter().find(|(_, other)| other.run != delete.run)
                {
                    let (run, xid) = (delete.run, delete.xid);
                    found.push(format!(
                        "run {} deleted from table {table} in {} while run {run} was deleting from it, until {xid}",
                        other.run, other.xid
                    ));
                    break;
                }
            }
        }
        for what in found {
            self.note("d-two-at-once", what);
        }
    }

    /// Checks (d): each row was deleted once.
    fn once(&mut self) {
        let mut seen = BTreeSet::new();
        for uid in self.history.deletes.iter().filter_map(Delete::uid) {
            if !seen.insert(uid) {
                self.note("d-twice", format!("row {uid} was deleted twice"));
            }
        }
    }

    /// Checks (d): the report of a run matches the rows that the run deleted. If a run lost its
    /// connection, its report may not include its last chunk (transaction).
    fn reports(&mut self) {
        for run in self.runs {
            let Some(targets) = run.report["targets"].as_array() else { continue };
            // In addition to rows of its target, each run deletes old rows from the run history.
            let Some(target) = targets.iter().find(|target| target["target"] != "reaper_runs")
            else {
                continue;
            };
            let reported: u64 = target["deleted"]
                .as_object()
                .map(|by_reason| by_reason.values().filter_map(serde_json::Value::as_u64).sum())
                .unwrap_or_default();
            let children = target["children"].as_u64();
            let of_run = || self.history.deletes.iter().filter(|delete| delete.run == run.number);
            let rows =
                of_run().filter(|delete| matches!(delete.what, Deleted::Row { .. })).count() as u64;
            let gone = of_run()
                .filter(|delete| matches!(delete.what, Deleted::Child { .. }))
                .count() as u64;
            let too_many = !self.crashed
                && (reported > rows || children.is_some_and(|children| children > gone));
            let too_few = run.undisturbed
                && (reported < rows || children.is_some_and(|children| children < gone));
            if too_many || too_few {
                self.note(
                    "d-report",
                    format!(
                        "run {} reports {reported} rows and {children:?} children, but deleted {rows} and {gone}",
                        run.number
                    ),
                );
            }
        }
    }
}

impl Reaper {
    /// Returns whether a row is due at the time `at`, in seconds since 1970, regardless of the
    /// other rows of its group.
    pub(crate) fn is_due(&self, row: Row, at: f64) -> bool {
        let due = self.reasons().into_iter().any(|(column, keep)| {
            let value = if column == "due_at" { row.due_at } else { row.revoked_at };
            #[allow(
                clippy::cast_precision_loss,
                reason = "microseconds of this century stay below 2^53"
            )]
            value.is_some_and(|value| value as f64 / MICROSECONDS + f64::from(keep) * 86_400.0 < at)
        });
        due && !(self.pinned_stay && row.pinned)
    }
}
