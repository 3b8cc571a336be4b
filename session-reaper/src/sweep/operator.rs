//! Operators and types that mean the same whatever the `search_path` holds.
//!
//! PostgreSQL looks an operator up along the `search_path`, and one in any schema of it whose
//! operand types fit exactly wins over a built-in one that takes a conversion. Whoever may create
//! objects in such a schema could have their own function called with the reaper's rights (the kind
//! of CVE-2018-1058). So each operator is written with its schema, and each cast with the schema of
//! its type.

use std::fmt;

use super::name::Ident;

/// An operator with its schema, as a statement names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Operator(String);

impl Operator {
    /// `name` is the operator's own, such as `=`.
    pub(super) fn new(schema: &Ident, name: &str) -> Self {
        Self(format!("OPERATOR({}.{name})", schema.quoted()))
    }

    /// One of PostgreSQL's own, with which no operator that somebody else made can be meant.
    pub(super) fn is_built_in(&self) -> bool {
        self.0.starts_with("OPERATOR(pg_catalog.")
    }
}

impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// PostgreSQL's own.
pub(super) const EQ: &str = "OPERATOR(pg_catalog.=)";
pub(super) const NE: &str = "OPERATOR(pg_catalog.<>)";
pub(super) const LT: &str = "OPERATOR(pg_catalog.<)";
pub(super) const LE: &str = "OPERATOR(pg_catalog.<=)";
pub(super) const GT: &str = "OPERATOR(pg_catalog.>)";
pub(super) const GE: &str = "OPERATOR(pg_catalog.>=)";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operator_is_written_with_its_schema() {
        let operator = |schema| Operator::new(&Ident::new(schema), "=").to_string();
        assert_eq!(operator("pg_catalog"), EQ);
        assert_eq!(operator("My extensions"), r#"OPERATOR("My extensions".=)"#);
    }
}
