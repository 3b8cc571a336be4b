//! Parses the tables of a page whose rows are requirements, and finds errors in the rows.

use std::fs;
use std::path::Path;

/// The directory of files that a row names without a directory.
const TESTS: &str = "auth-api/tests/it";

/// The columns of each table: requirement, content, status, tests, reason.
const COLUMNS: usize = 5;

/// A test that a row names.
struct Named<'p> {
    file: &'p str,
    test: &'p str,
}

impl Named<'_> {
    /// Returns whether the test exists in a file under `root`.
    fn exists(&self, root: &Path) -> bool {
        let places = [root.join(self.file), root.join(TESTS).join(self.file)];
        places
            .iter()
            .filter_map(|place| fs::read_to_string(place).ok())
            .any(|source| has_test(&source, self.test))
    }
}

fn has_test(source: &str, name: &str) -> bool {
    let lines: Vec<_> = source.lines().map(str::trim).collect();
    let declaration = format!("fn {name}(");
    let is_test = |attribute: &&str| {
        attribute.starts_with("#[test]") || attribute.starts_with("#[tokio::test")
    };
    lines.iter().enumerate().filter(|(_, line)| line.contains(&declaration)).any(|(at, _)| {
        lines[..at]
            .iter()
            .rev()
            .take_while(|line| line.starts_with("#[") || line.starts_with("//"))
            .any(is_test)
    })
}

/// Returns the tests that a cell names in backquotes, as `file.rs::test`.
fn named(cell: &str) -> Vec<Named<'_>> {
    let quoted = cell.split('`').skip(1).step_by(2);
    quoted
        .filter_map(|quoted| quoted.split_once("::"))
        .map(|(file, test)| Named { file, test })
        .collect()
}

/// Returns the rows of all tables with their line numbers, without the header rows.
fn rows(page: &str) -> impl Iterator<Item = (usize, Vec<&str>)> {
    let lines = page
        .lines()
        .enumerate()
        .filter(|(_, line)| line.starts_with('|') && !line.starts_with("|---"));
    let cells = lines.map(|(at, line)| {
        (at + 1, line.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>())
    });
    cells.filter(|(_, cells)| cells.get(2) != Some(&"status"))
}

/// Returns a description of the first error in a row.
fn fault(cells: &[&str], root: &Path) -> Option<String> {
    if cells.len() != COLUMNS {
        return Some(format!("{} cells", cells.len()));
    }
    let (status, tests, reason) = (cells[2], cells[3], cells[4]);
    if tests.contains("TODO") {
        return Some("the test is still TODO".to_owned());
    }
    if let Some(missing) = named(tests).into_iter().find(|named| !named.exists(root)) {
        return Some(format!("there is no test {}::{}", missing.file, missing.test));
    }
    match (status, tests.is_empty(), reason.is_empty()) {
        ("met", true, _) => Some("met, but without a test".to_owned()),
        ("partly" | "not met", _, true) => Some(format!("{status} without a reason")),
        ("met" | "partly" | "not met", ..) => None,
        _ => Some(format!("unknown status {status:?}")),
    }
}

/// Returns the errors in the rows of a page. `root` contains the files that the rows name. Panics
/// if the page has no rows.
pub(crate) fn faults(page: &str, root: &Path) -> Vec<String> {
    assert!(rows(page).next().is_some(), "the page has no rows");
    rows(page)
        .filter_map(|(line, cells)| Some(format!("line {line}: {}", fault(&cells, root)?)))
        .collect()
}
