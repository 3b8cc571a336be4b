//! The goals of session-reaper, and whether it reaches them.

use std::fmt;

use crate::results::Results;
use crate::way::Role;

type Value = fn(&Results, &str, &str) -> Option<f64>;

/// The minimum or the maximum of a value.
enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

const GOALS: [(&str, Bound, Value); 4] = [
    (
        "÷ best loop that skips locked rows, at least 0.95",
        Bound::AtLeast(0.95),
        Results::to_best_loop_like_ours,
    ),
    ("÷ key IN, at least 5", Bound::AtLeast(5.0), Results::to_key_in),
    ("last ÷ first chunk, at most 1.5", Bound::AtMost(1.5), Results::last_over_first),
    ("peak MiB, at most 32", Bound::AtMost(32.0), Results::peak_mib),
];

pub(crate) fn write(results: &Results, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    writeln!(f, "## Goals\n")?;
    for way in results.ways.iter().filter(|way| way.role == Role::Reaper) {
        for case in &results.cases {
            for (what, bound, value) in &GOALS {
                let (name, value) = (&way.name, value(results, case, &way.name));
                let verdict = match value {
                    None => "not measured".to_owned(),
                    Some(value) => {
                        let met = match bound {
                            Bound::AtLeast(bound) => value >= *bound,
                            Bound::AtMost(bound) => value <= *bound,
                        };
                        format!("{value:.2}, {}", if met { "met" } else { "MISSED" })
                    }
                };
                writeln!(f, "- {name}, {case}: {what}: {verdict}")?;
            }
        }
    }
    for passed in &results.gates {
        let (name, rows, elapsed, bound) = (
            passed.gate.subcommand,
            passed.rows,
            passed.elapsed.as_secs_f64(),
            passed.gate.at_most.as_secs_f64(),
        );
        let verdict = if passed.elapsed <= passed.gate.at_most { "met" } else { "MISSED" };
        writeln!(
            f,
            "- session-reaper {name} at {rows} rows: at most {bound:.0} s: {elapsed:.2} s, {verdict}"
        )?;
    }
    Ok(())
}
