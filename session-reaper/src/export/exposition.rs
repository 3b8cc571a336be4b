//! Implements the part of Prometheus' text format that session-reaper's metrics use. Supports
//! selecting metrics, and adding counters to the values of earlier runs.
//!
//! <https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format>

use std::fmt::Write as _;

use crate::metrics;

/// Metrics with their series, in the order of the text.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Exposition(Vec<Family>);

#[derive(Clone, Debug, Default, PartialEq)]
struct Family {
    name: String,
    help: String,
    kind: String,
    /// The name with labels, and the value.
    series: Vec<(String, String)>,
}

impl Exposition {
    /// Parses the text. Unknown lines are ignored, because the file may belong to another program.
    pub(super) fn parse(text: &str) -> Self {
        let mut families: Vec<Family> = Vec::new();
        for line in text.lines() {
            if let Some((name, help)) =
                line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' '))
            {
                families.push(Family {
                    name: name.to_owned(),
                    help: help.to_owned(),
                    ..Family::default()
                });
            } else if let Some((name, kind)) =
                line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' '))
            {
                if families.last().is_none_or(|family| family.name != name) {
                    families.push(Family { name: name.to_owned(), ..Family::default() });
                }
                if let Some(family) = families.last_mut() {
                    kind.trim().clone_into(&mut family.kind);
                }
            } else if let (Some(family), Some((series, value))) =
                (families.last_mut(), line.rsplit_once(' '))
                && series.starts_with(&family.name)
            {
                family.series.push((series.to_owned(), value.to_owned()));
            }
        }
        Self(families)
    }

    /// Returns the metrics without those that are meaningful only while the process exists.
    pub(super) fn lasting(mut self) -> Self {
        self.0.retain(|family| !metrics::is_momentary(&family.name));
        self
    }

    /// Returns only the gauges. Counters and histograms would restart from zero with each run.
    pub(super) fn gauges(mut self) -> Self {
        self.0.retain(|family| family.kind == "gauge");
        self
    }

    /// Combines this run's metrics with `before`, the metrics of earlier runs. Counters and
    /// histograms are added to their earlier values. A gauge that this run did not measure has its
    /// earlier value, unless the target of the gauge no longer exists.
    pub(super) fn continued_from(mut self, before: &Self, targets: &[&str]) -> Self {
        let labeled = self.family(metrics::BUILD_INFO).is_some_and(Family::has_database);
        let same_version = self
            .family(metrics::BUILD_INFO)
            .is_some_and(|info| before.family(metrics::BUILD_INFO) == Some(info));
        for family in &mut self.0 {
            let Some(old) = before.family(&family.name).filter(|old| old.kind == family.kind)
            else {
                continue;
            };
            if family.kind != "gauge" {
                // If the version has changed, the buckets may differ, so counters and histograms
                // restart from zero.
                if same_version {
                    family.add(old);
                }
            } else if family.name != metrics::BUILD_INFO {
                family.keep(old, targets, labeled);
            }
        }
        let unmeasured =
            before.0.iter().filter(|old| old.kind == "gauge" && metrics::is_ours(&old.name));
        for old in unmeasured {
            if self.family(&old.name).is_none() && !metrics::is_momentary(&old.name) {
                let mut family = Family { series: Vec::new(), ..old.clone() };
                family.keep(old, targets, labeled);
                self.0.push(family);
            }
        }
        self
    }

    fn family(&self, name: &str) -> Option<&Family> {
        self.0.iter().find(|family| family.name == name)
    }

    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        for Family { name, help, kind, series } in
            self.0.iter().filter(|family| !family.series.is_empty())
        {
            // Writing to a `String` cannot fail.
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
            for (series, value) in series {
                let _ = writeln!(text, "{series} {value}");
            }
        }
        text
    }
}

impl Family {
    fn value(&self, series: &str) -> Option<&str> {
        self.series.iter().find(|(name, _)| name == series).map(|(_, value)| value.as_str())
    }

    fn add(&mut self, old: &Self) {
        for (series, value) in &mut self.series {
            let old = old
                .value(series)
                .and_then(|value| value.parse::<f64>().ok())
                .filter(|old| old.is_finite());
            if let (Some(old), Ok(new)) = (old, value.parse::<f64>()) {
                *value = (old + new).to_string();
            }
        }
    }

    /// Returns whether the series have the name of the database as a label.
    fn has_database(&self) -> bool {
        self.series.iter().any(|(series, _)| has_database(series))
    }

    /// Copies the series of `old` that this run did not measure, except those of targets that no
    /// longer exist. If `labeled` is `true`, current series have a label for the database. Series
    /// without this label are then from an earlier version and are not copied.
    fn keep(&mut self, old: &Self, targets: &[&str], labeled: bool) {
        let series = old.series.iter().filter(|(series, _)| !labeled || has_database(series));
        for (series, value) in series {
            let known = target_of(series)
                .is_none_or(|of| targets.iter().any(|target| escaped(target) == of));
            if known && value.parse::<f64>().is_ok() && self.value(series).is_none() {
                self.series.push((series.clone(), value.clone()));
            }
        }
    }
}

fn has_database(series: &str) -> bool {
    series.contains(&format!("{}=\"", metrics::DATABASE))
}

/// Returns the escaped value of the label `target`.
fn target_of(series: &str) -> Option<&str> {
    let (_, rest) = series.split_once("target=\"")?;
    let mut escape = false;
    let end = rest.find(|letter| {
        let ends = letter == '"' && !escape;
        escape = letter == '\\' && !escape;
        ends
    })?;
    Some(&rest[..end])
}

fn escaped(label: &str) -> String {
    label.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = "\
# HELP session_reaper_build_info i
# TYPE session_reaper_build_info gauge
session_reaper_build_info{version=\"1\"} 1
# HELP session_reaper_runs_total r
# TYPE session_reaper_runs_total counter
session_reaper_runs_total{outcome=\"success\"} 7
session_reaper_runs_total{outcome=\"failed\"} nonsense
# HELP session_reaper_last_success_timestamp_seconds s
# TYPE session_reaper_last_success_timestamp_seconds gauge
session_reaper_last_success_timestamp_seconds 1000.5
# HELP session_reaper_backlog_capped c
# TYPE session_reaper_backlog_capped gauge
session_reaper_backlog_capped{target=\"a \\\"b\\\"\"} 1
session_reaper_backlog_capped{target=\"gone\"} 1
# TYPE somebody_elses gauge
somebody_elses 3
and what is this
";

    const NOW: &str = "\
# HELP session_reaper_build_info i
# TYPE session_reaper_build_info gauge
session_reaper_build_info{version=\"1\"} 1
# HELP session_reaper_runs_total r
# TYPE session_reaper_runs_total counter
session_reaper_runs_total{outcome=\"success\"} 0
session_reaper_runs_total{outcome=\"failed\"} 1
";

    #[test]
    fn counters_and_gauges_continue_from_the_file() {
        let text = Exposition::parse(NOW)
            .continued_from(&Exposition::parse(BEFORE), &["a \"b\"", "c"])
            .text();
        assert_eq!(
            text,
            "\
# HELP session_reaper_build_info i
# TYPE session_reaper_build_info gauge
session_reaper_build_info{version=\"1\"} 1
# HELP session_reaper_runs_total r
# TYPE session_reaper_runs_total counter
session_reaper_runs_total{outcome=\"success\"} 7
session_reaper_runs_total{outcome=\"failed\"} 1
# HELP session_reaper_last_success_timestamp_seconds s
# TYPE session_reaper_last_success_timestamp_seconds gauge
session_reaper_last_success_timestamp_seconds 1000.5
# HELP session_reaper_backlog_capped c
# TYPE session_reaper_backlog_capped gauge
session_reaper_backlog_capped{target=\"a \\\"b\\\"\"} 1
"
        );
    }

    #[test]
    fn another_version_resets_counters_and_keeps_gauges() {
        let before = BEFORE.replace("version=\"1\"", "version=\"0\"");
        let text = Exposition::parse(NOW).continued_from(&Exposition::parse(&before), &[]).text();
        assert!(
            text.contains("{outcome=\"success\"} 0\n")
                && text.contains("timestamp_seconds 1000.5\n"),
            "{text}"
        );
        assert!(text.contains("version=\"1\"") && !text.contains("version=\"0\""), "{text}");
    }

    #[test]
    fn parsed_text_is_written_unchanged() {
        assert_eq!(Exposition::parse(NOW).text(), NOW);
    }
}
