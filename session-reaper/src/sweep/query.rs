//! A statement and what it is given.

use std::error::Error;
use std::fmt;

use bytes::BytesMut;
use tokio_postgres::types::{Format, IsNull, ToSql, Type, to_sql_checked};

/// What a placeholder may stand for: a text, or a number.
pub(super) trait Value: ToSql + Sync {
    /// As one would write it in the statement itself.
    fn literal(&self) -> String;
}

/// A value of any type, as PostgreSQL writes and reads it: exact for every type, `infinity`
/// included.
///
/// It is sent as text for a parameter of the column's own type. A parameter of type text and a cast
/// in the statement would do as well, but not every such cast is known before the rows are: in the
/// order of the heap it was made for each row, and took 0.8 of 2.4 µs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Text(pub(super) String);

/// Where the values of a statement are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Values {
    /// Beside it: it is prepared once, and nothing in a value can be anything but a
    /// value.
    Bound,
    /// In it: it can be explained, read, and pasted into psql.
    Written,
}

/// A statement and its parameters, numbered as they were pushed.
pub(super) struct Query<'a> {
    pub(super) text: String,
    pub(super) params: Vec<&'a (dyn ToSql + Sync)>,
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

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl ToSql for Text {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.extend_from_slice(self.0.as_bytes());
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        Format::Text
    }

    to_sql_checked!();
}

impl Value for Text {
    /// Read alike whatever `standard_conforming_strings` is.
    fn literal(&self) -> String {
        let quoted = self.0.replace('\'', "''");
        if quoted.contains('\\') {
            format!(" E'{}'", quoted.replace('\\', "\\\\"))
        } else {
            format!("'{quoted}'")
        }
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
