//! The groups that a pass does not try to lock again: somebody held a row of them.

use super::query::Text;

/// So many are remembered. One that is forgotten is locked again in vain, which costs a little and
/// harms nobody.
const REMEMBERED: usize = 1_000;

/// Groups by their value, as PostgreSQL writes it. It is neither logged nor reported.
#[derive(Clone, Debug)]
pub(super) struct Refused {
    groups: Vec<String>,
    /// The same as an array, for a statement.
    pub(super) array: Text,
}

impl Refused {
    pub(super) fn none() -> Self {
        Self { groups: Vec::new(), array: Text("{}".to_owned()) }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// Remembers some more, and returns whether there was room for one.
    pub(super) fn add(&mut self, groups: Vec<String>) -> bool {
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

/// An array of text as PostgreSQL reads it.
fn array(elements: &[String]) -> String {
    let quoted = |text: &String| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    format!("{{{}}}", elements.iter().map(quoted).collect::<Vec<_>>().join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_array_is_written_as_postgresql_reads_it() {
        let mut refused = Refused::none();
        assert!(refused.add(vec!["a".to_owned(), r#"b"\c"#.to_owned(), String::new()]));
        assert_eq!(refused.array.0, r#"{"a","b\"\\c",""}"#);
    }

    #[test]
    fn no_more_are_remembered_than_there_is_room_for() {
        let mut refused = Refused::none();
        assert!(refused.add(vec!["x".to_owned(); REMEMBERED + 1]));
        assert!(!refused.add(vec!["y".to_owned()]));
        assert!(!refused.is_empty());
    }
}
