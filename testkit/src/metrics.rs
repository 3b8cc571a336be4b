use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Type and labels of each metric. The labels `le` and `quantile`, which are part of the text
/// format, are not included.
pub type Metrics = BTreeMap<String, (String, BTreeSet<String>)>;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Runs promtool, the tool of Prometheus, in the root of the repository. Returns whether it
/// succeeded, and its output.
#[must_use]
pub fn promtool(args: &[&str], input: &str) -> (bool, String) {
    let mut child = Command::new("promtool")
        .args(args)
        .current_dir(repository())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| {
            panic!("promtool is not installed (on Debian: apt-get install prometheus): {error}")
        });
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
    (output.status.success(), text)
}

/// Removes the label that contains the name of the database from every series of session-reaper.
#[must_use]
pub fn without_database(text: &str) -> String {
    let line = |line: &str| {
        let Some((before, rest)) = line.split_once("database=\"") else { return line.to_owned() };
        let rest = rest.split_once('"').map_or("", |(_, rest)| rest);
        match rest.strip_prefix(',') {
            Some(rest) => format!("{before}{rest}"),
            // It was the only label.
            None => format!("{}{}", before.trim_end_matches('{'), rest.trim_start_matches('}')),
        }
    };
    text.lines().map(|text| line(text) + "\n").collect()
}

/// Returns the metrics of a scrape.
#[must_use]
pub fn scraped(text: &str) -> Metrics {
    let mut metrics = Metrics::new();
    for line in text.lines() {
        if let Some((name, kind)) =
            line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' '))
        {
            metrics.insert(name.to_owned(), (kind.to_owned(), BTreeSet::new()));
        } else if let Some((series, labels)) =
            line.split_once('{').filter(|_| !line.starts_with('#'))
        {
            let name =
                ["_bucket", "_sum", "_count"].iter().find_map(|part| series.strip_suffix(part));
            let metric = metrics.get_mut(
                name.filter(|name| text.contains(&format!("# TYPE {name} "))).unwrap_or(series),
            );
            // A label name ends before `="` and begins after the delimiter that precedes it. Values
            // may contain braces, as in `/{id}`.
            let names = labels.split("=\"").filter_map(|part| part.rsplit([',', '"', '{']).next());
            let names =
                names.filter(|name| !name.is_empty() && !name.contains('}') && *name != "le");
            metric.unwrap().1.extend(names.map(str::to_owned));
        }
    }
    metrics
}

/// Returns the metrics in the tables of docs/metrics.md whose names begin with `prefix`.
#[must_use]
pub fn documented(prefix: &str) -> Metrics {
    let page = std::fs::read_to_string(repository().join("docs/metrics.md")).unwrap();
    let code = |cell: &str| -> BTreeSet<String> {
        cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
    };
    let begins = format!("| `{prefix}");
    let mut metrics = Metrics::new();
    for row in page.lines().filter(|line| line.starts_with(&begins)) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        for name in code(cells[1]) {
            assert!(!cells[4].is_empty(), "{name} has no description");
            metrics.insert(name, (cells[2].to_owned(), code(cells[3])));
        }
    }
    metrics
}
