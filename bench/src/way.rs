//! The ways to empty a table that are set beside each other, as data.

use std::path::{Path, PathBuf};

/// What a way does to others that use the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manners {
    /// It passes over rows that somebody holds, in chunks that are a transaction each.
    SkipsLocked,
    /// It waits behind whoever holds a row.
    Waits,
}

/// What a way is in the comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Ours: the goals are for these.
    Reaper,
    /// Hand-written, and as good as it gets.
    BestLoop,
    /// What most projects have. It empties a part of the table: the rest would take too long.
    KeyIn,
    /// One statement: the limit of what the server can do.
    OneDelete,
}

/// How it is done.
#[derive(Clone, Debug)]
pub enum Means {
    /// `session-reaper run`.
    Reaper {
        /// The program.
        program: PathBuf,
        /// Lines for the target in `reaper.toml`.
        target: &'static str,
        /// Variables, beside those that all have.
        env: &'static [(&'static str, &'static str)],
    },
    /// A procedure `reap(cutoff, chunk, most)`, called by psql.
    Loop {
        /// Makes it.
        sql: &'static str,
        /// Rows in a chunk.
        chunk: u32,
    },
}

/// One of them.
#[derive(Clone, Debug)]
pub struct Way {
    /// In results.
    pub name: String,
    /// In the comparison.
    pub role: Role,
    /// Towards others.
    pub manners: Manners,
    /// How.
    pub means: Means,
}

/// The configurations of session-reaper that are measured: name, lines of its target, variables.
type Configuration = (&'static str, &'static str, &'static [(&'static str, &'static str)]);
const CONFIGURATIONS: &[Configuration] = &[("session-reaper", "", &[])];

/// The loops: name, role, manners, procedure, rows in a chunk.
const LOOPS: &[(&str, Role, Manners, &str, u32)] = &[
    (
        "ctid array, locked, 1,000",
        Role::BestLoop,
        Manners::SkipsLocked,
        include_str!("../sql/loops/ctid_array.sql"),
        1_000,
    ),
    (
        "ctid array, locked, 5,000",
        Role::BestLoop,
        Manners::SkipsLocked,
        include_str!("../sql/loops/ctid_array.sql"),
        5_000,
    ),
    ("range, 5,000", Role::BestLoop, Manners::Waits, include_str!("../sql/loops/range.sql"), 5_000),
    (
        "heap order, locked, 5,000",
        Role::BestLoop,
        Manners::SkipsLocked,
        include_str!("../sql/loops/heap_locked.sql"),
        5_000,
    ),
    (
        "heap order, 5,000",
        Role::BestLoop,
        Manners::Waits,
        include_str!("../sql/loops/heap.sql"),
        5_000,
    ),
    (
        "key IN, locked, 100",
        Role::KeyIn,
        Manners::SkipsLocked,
        include_str!("../sql/loops/key_in.sql"),
        100,
    ),
    ("one DELETE", Role::OneDelete, Manners::Waits, include_str!("../sql/loops/one_delete.sql"), 0),
];

/// All ways, with each of these builds of session-reaper (by name; the first is the one in
/// question, and needs none).
#[must_use]
pub fn all(builds: &[(String, PathBuf)]) -> Vec<Way> {
    let reapers = builds
        .iter()
        .flat_map(|(build, program)| CONFIGURATIONS.iter().map(|c| reaper(build, program, c)));
    let loops = LOOPS.iter().map(|&(name, role, manners, sql, chunk)| Way {
        name: name.to_owned(),
        role,
        manners,
        means: Means::Loop { sql, chunk },
    });
    reapers.chain(loops).collect()
}

fn reaper(build: &str, program: &Path, &(name, target, env): &Configuration) -> Way {
    Way {
        name: if build.is_empty() { name.to_owned() } else { format!("{name}, {build}") },
        role: Role::Reaper,
        manners: Manners::SkipsLocked,
        means: Means::Reaper { program: program.to_owned(), target, env },
    }
}
