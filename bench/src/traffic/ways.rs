//! What deletes beside the traffic, as data.

use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Variables of session-reaper, and what they are set to.
#[derive(Clone, Debug, Default)]
pub struct Settings(pub Vec<(String, String)>);

/// One of them.
#[derive(Clone, Debug)]
pub struct Way {
    /// In results.
    pub name: String,
    /// How.
    pub means: Means,
    /// The goals are for this one.
    pub has_goals: bool,
}

/// How it is done.
#[derive(Clone, Debug)]
pub enum Means {
    /// Not at all: how much two windows differ by themselves.
    Nothing,
    /// `session-reaper run` with these variables.
    Reaper(PathBuf, Settings),
    /// A procedure `reap(cutoff, chunk, most)` and the rows in a chunk, called by psql.
    Loop(&'static str, u32),
}

/// Procedures: name, text, rows in a chunk.
const LOOPS: [(&str, &str, u32); 3] = [
    ("hand-written loop, 1,000", include_str!("../../sql/loops/ctid_array.sql"), 1_000),
    ("key IN, 100", include_str!("../../sql/loops/key_in.sql"), 100),
    ("one DELETE", include_str!("../../sql/loops/one_delete.sql"), 0),
];

/// All of them, with session-reaper in each of these builds (by name; the first is the one in
/// question) as it comes, without a pause, and with each of these settings.
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
    let said = settings.0.iter().map(|(name, value)| format!("{name}={value}"));
    let said = build.into_iter().chain(said).collect::<Vec<_>>().join(" ");
    Way {
        name: if said.is_empty() {
            "session-reaper".to_owned()
        } else {
            format!("session-reaper, {said}")
        },
        means: Means::Reaper(program.to_owned(), settings.clone()),
        has_goals: said.is_empty(),
    }
}

impl FromStr for Settings {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let setting = |one: &str| {
            let (name, value) =
                one.split_once('=').ok_or("NAME=VALUE NAME=VALUE, such as CHUNK_TIME=2ms")?;
            Ok((name.to_owned(), value.to_owned()))
        };
        text.split_whitespace().map(setting).collect::<Result<_, _>>().map(Self)
    }
}
