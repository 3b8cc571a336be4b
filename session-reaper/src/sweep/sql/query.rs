//! A statement and what it is given.

use tokio_postgres::types::ToSql;

/// What a placeholder may stand for: a text, or a number.
pub(in crate::sweep) trait Value: ToSql + Sync {
    /// As one would write it in the statement itself.
    fn literal(&self) -> String;
}

/// Where the values of a statement are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sweep) enum Values {
    /// Beside it: it is prepared once, and nothing in a value can be anything but a value.
    Bound,
    /// In it: it can be explained, read, and pasted into psql.
    Written,
}

/// A statement and its parameters, numbered as they were pushed.
pub(in crate::sweep) struct Query<'a> {
    pub(in crate::sweep) text: String,
    pub(in crate::sweep) params: Vec<&'a (dyn ToSql + Sync)>,
    values: Values,
}

impl<'a> Query<'a> {
    pub(super) fn new(values: Values) -> Self {
        Self { text: String::new(), params: Vec::new(), values }
    }

    /// Takes the value in and returns what stands for it in the text.
    pub(super) fn bind<T: Value>(&mut self, value: &'a T) -> String {
        match self.values {
            Values::Written => value.literal(),
            Values::Bound => {
                self.params.push(value);
                format!("${}", self.params.len())
            }
        }
    }
}

impl Value for String {
    fn literal(&self) -> String {
        format!("'{}'", self.replace('\'', "''"))
    }
}

impl Value for i32 {
    fn literal(&self) -> String {
        self.to_string()
    }
}

impl Value for i64 {
    fn literal(&self) -> String {
        self.to_string()
    }
}
