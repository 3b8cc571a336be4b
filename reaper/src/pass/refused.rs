//! The groups (rows that are deleted only together) that a pass does not try to lock again, because
//! another session has locked one of their rows.

use crate::sql::query::Text;

/// The maximum number of remembered groups. The pass may try to lock other groups again, which
/// costs little time and has no other effect.
const REMEMBERED: usize = 1_000;

/// The remembered groups. Each group is identified by the value of the group column, in
/// PostgreSQL's text format. The values are neither logged nor reported.
#[derive(Clone, Debug)]
pub(crate) struct Refused {
    groups: Vec<String>,
    /// The same values as an array literal, for a statement.
    pub(crate) array: Text,
}

impl Refused {
    pub(crate) fn none() -> Self {
        Self { groups: Vec::new(), array: Text("{}".to_owned()) }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// Adds groups, up to the maximum. Returns `true` if at least one group was added.
    pub(crate) fn add(&mut self, groups: Vec<String>) -> bool {
        let room = REMEMBERED.saturating_sub(self.groups.len());
        let before = self.groups.len();
        self.groups.extend(groups.into_iter().take(room));
        let more = self.groups.len() > before;
        if more {
            self.array = Text(array(&self.groups));
        }
        more
    }
}

/// Formats an array of texts as a PostgreSQL array literal.
fn array(elements: &[String]) -> String {
    let quoted = |text: &String| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    format!("{{{}}}", elements.iter().map(quoted).collect::<Vec<_>>().join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn array_is_a_valid_postgresql_literal() {
        let mut refused = Refused::none();
        assert!(refused.add(vec!["a".to_owned(), r#"b"\c"#.to_owned(), String::new()]));
        assert_eq!(refused.array.0, r#"{"a","b\"\\c",""}"#);
    }

    #[test]
    fn groups_beyond_the_maximum_are_not_added() {
        let mut refused = Refused::none();
        assert!(refused.add(vec!["x".to_owned(); REMEMBERED + 1]));
        assert!(!refused.add(vec!["y".to_owned()]));
        assert!(!refused.is_empty());
    }
}
