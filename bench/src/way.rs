//! The ways to delete the due rows of a table, which the benchmark compares. They are defined as
//! data.

use std::path::{Path, PathBuf};

/// How a way handles rows that another transaction has locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockWait {
    /// Skips locked rows. Each chunk is one transaction.
    SkipLocked,
    /// Waits until the row is unlocked.
    Wait,
}

/// The role of a way in the comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// session-reaper, to which the goals apply.
    Reaper,
    /// A hand-written loop that is as fast as possible.
    BestLoop,
    /// The loop that most projects use. It deletes only part of the due rows, because the rest
    /// would take too long.
    KeyIn,
    /// A single `DELETE` of all due rows, which shows how fast the server can delete rows.
    OneDelete,
}

/// How a way deletes rows.
#[derive(Clone, Debug)]
pub enum Means {
    /// `session-reaper run`.
    Reaper {
        /// Path of the program.
        program: PathBuf,
        /// Additional lines of the target in `reaper.toml`.
        target: &'static str,
        /// Environment variables, in addition to the common ones.
        env: &'static [(&'static str, &'static str)],
    },
    /// A procedure `reap(cutoff, chunk, most)`, called by psql.
    Loop {
        /// The statement that creates the procedure.
        sql: &'static str,
        /// Number of rows in a chunk, which is one transaction.
        chunk: u32,
    },
}

/// A way to delete the due rows of a table.
#[derive(Clone, Debug)]
pub struct Way {
    /// Name in the results.
    pub name: String,
    /// Role in the comparison.
    pub role: Role,
    /// How the way handles locked rows.
    pub lock_wait: LockWait,
    /// How the way deletes rows.
    pub means: Means,
}

/// The measured configurations of session-reaper: name, additional lines of the target, environment
/// variables.
type Configuration = (&'static str, &'static str, &'static [(&'static str, &'static str)]);
const CONFIGURATIONS: &[Configuration] = &[("session-reaper", "", &[])];

/// The loops: name, role, handling of locked rows, procedure, and rows in a chunk (one
/// transaction).
const LOOPS: &[(&str, Role, LockWait, &str, u32)] = &[
    (
        "ctid array, locked, 1,000",
        Role::BestLoop,
        LockWait::SkipLocked,
        include_str!("../sql/loops/ctid_array.sql"),
        1_000,
    ),
    (
        "ctid array, locked, 5,000",
        Role::BestLoop,
        LockWait::SkipLocked,
        include_str!("../sql/loops/ctid_array.sql"),
        5_000,
    ),
    ("range, 5,000", Role::BestLoop, LockWait::Wait, include_str!("../sql/loops/range.sql"), 5_000),
    (
        "heap order, locked, 5,000",
        Role::BestLoop,
        LockWait::SkipLocked,
        include_str!("../sql/loops/heap_locked.sql"),
        5_000,
    ),
    (
        "heap order, 5,000",
        Role::BestLoop,
        LockWait::Wait,
        include_str!("../sql/loops/heap.sql"),
        5_000,
    ),
    (
        "key IN, locked, 100",
        Role::KeyIn,
        LockWait::SkipLocked,
        include_str!("../sql/loops/key_in.sql"),
        100,
    ),
    ("one DELETE", Role::OneDelete, LockWait::Wait, include_str!("../sql/loops/one_delete.sql"), 0),
];

/// Returns all ways. `builds` contains the name and the path of each build of session-reaper. The
/// name of the first build is empty: this is the build to measure, and the other builds are
/// compared with it.
#[must_use]
pub fn all(builds: &[(String, PathBuf)]) -> Vec<Way> {
    let reapers = builds
        .iter()
        .flat_map(|(build, program)| CONFIGURATIONS.iter().map(|c| reaper(build, program, c)));
    let loops = LOOPS.iter().map(|&(name, role, lock_wait, sql, chunk)| Way {
        name: name.to_owned(),
        role,
        lock_wait,
        means: Means::Loop { sql, chunk },
    });
    reapers.chain(loops).collect()
}

fn reaper(build: &str, program: &Path, &(name, target, env): &Configuration) -> Way {
    Way {
        name: if build.is_empty() { name.to_owned() } else { format!("{name}, {build}") },
        role: Role::Reaper,
        lock_wait: LockWait::SkipLocked,
        means: Means::Reaper { program: program.to_owned(), target, env },
    }
}
