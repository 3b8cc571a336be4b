//! The parts of the statements of a target that sets columns instead of deleting rows.

use super::PassSql;
use crate::target::catalog::Assignment;
use crate::target::due::Due;

impl PassSql {
    /// Returns the beginning of the statement that processes the row `t`: `DELETE`, or `UPDATE`
    /// with its assignments.
    pub(super) fn verb(&self) -> String {
        let table = &self.table;
        if self.due.set.is_empty() {
            return format!("DELETE FROM ONLY {table} t");
        }
        let set: Vec<String> = self.due.set.iter().map(Assignment::text).collect();
        format!("UPDATE ONLY {table} t SET {}", set.join(", "))
    }
}

impl Due {
    /// Returns the condition that at least one column does not have its new value yet. `row` is a
    /// prefix of the columns, such as `t.`. Returns `None` if the target deletes rows.
    ///
    /// The condition of the partial index has the same text, so that the planner can prove that the
    /// index contains all due rows.
    pub(crate) fn differs(&self, row: &str) -> Option<String> {
        let columns: Vec<String> = self.set.iter().map(|set| set.differs(row)).collect();
        (!columns.is_empty()).then(|| format!("({})", columns.join(" OR ")))
    }
}

impl Assignment {
    fn text(&self) -> String {
        format!("{} = {}", self.column.name, self.value())
    }

    fn differs(&self, row: &str) -> String {
        let name = &self.column.name;
        match (&self.column.equals, self.literal.value()) {
            (Some(equals), Some(_)) => {
                format!("({row}{name} {equals} {}) IS NOT TRUE", self.value())
            }
            _ => format!("{row}{name} IS NOT NULL"),
        }
    }

    fn value(&self) -> String {
        format!("{}::{}", self.literal, self.column.cast)
    }
}
