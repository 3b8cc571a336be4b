//! The ways to delete rows during the traffic, as data.

use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Environment variables of session-reaper, with their values.
#[derive(Clone, Debug, Default)]
pub struct Settings(pub Vec<(String, String)>);

/// A way to delete rows.
#[derive(Clone, Debug)]
pub struct Way {
    /// Name in the results.
    pub name: String,
    /// How it deletes rows.
    pub means: Means,
    /// Whether the goals of session-reaper apply to this way of deleting rows.
    pub has_goals: bool,
}

/// How a way deletes rows.
#[derive(Clone, Debug)]
pub enum Means {
    /// Deletes nothing, to show how much the latencies of two periods differ without deletions.
    Nothing,
    /// `session-reaper run` with these environment variables.
    Reaper(PathBuf, Settings),
    /// A procedure `reap(cutoff, chunk, most)`, called by psql, and the number of rows in a chunk
    /// (one transaction).
    Loop(&'static str, u32),
}

/// Procedures: name, SQL text, rows in a chunk.
const LOOPS: [(&str, &str, u32); 3] = [
    ("hand-written loop, 1,000", include_str!("../../sql/loops/ctid_array.sql"), 1_000),
    ("key IN, 100", include_str!("../../sql/loops/key_in.sql"), 100),
    ("one DELETE", include_str!("../../sql/loops/one_delete.sql"), 0),
];

/// Returns all ways. `builds` contains the name and the path of each build of session-reaper. The
/// name of the first build is empty: this is the build to measure, and the other builds are
/// compared with it. Each build is measured with its default settings, without idle time between
/// chunks, and with each of the additional settings.
pub(super) fn all(builds: &[(String, PathBuf)], also: &[Settings]) -> Vec<Way> {
    let without_pause = Settings(vec![("DUTY_CYCLE".to_owned(), "1".to_owned())]);
    let mut ways =
        vec![Way { name: "nothing".to_owned(), means: Means::Nothing, has_goals: false }];
    for (build, program) in builds {
        for settings in [&Settings::default(), &without_pause].into_iter().chain(also) {
            ways.push(reaper(build, program, settings));
        }
    }
    ways.extend(LOOPS.map(|(name, sql, chunk)| Way {
        name: name.to_owned(),
        means: Means::Loop(sql, chunk),
        has_goals: false,
    }));
    ways
}

fn reaper(build: &str, program: &Path, settings: &Settings) -> Way {
    let build = (!build.is_empty()).then(|| build.to_owned());
    let description = settings.0.iter().map(|(name, value)| format!("{name}={value}"));
    let description = build.into_iter().chain(description).collect::<Vec<_>>().join(" ");
    Way {
        name: if description.is_empty() {
            "session-reaper".to_owned()
        } else {
            format!("session-reaper, {description}")
        },
        means: Means::Reaper(program.to_owned(), settings.clone()),
        has_goals: description.is_empty(),
    }
}

impl FromStr for Settings {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let setting = |one: &str| {
            let (name, value) = one
                .split_once('=')
                .ok_or("expected NAME=VALUE NAME=VALUE …, such as CHUNK_TIME=2ms")?;
            Ok((name.to_owned(), value.to_owned()))
        };
        text.split_whitespace().map(setting).collect::<Result<_, _>>().map(Self)
    }
}
