//! Operators and types that resolve identically for every `search_path`.
//!
//! PostgreSQL resolves an operator through the `search_path`. If the operand types of an operator
//! in any schema of the `search_path` match exactly, this operator takes precedence over a built-in
//! operator that requires a conversion. A role that may create objects in such a schema could
//! therefore have its own function called with the reaper's privileges (the class of
//! CVE-2018-1058). For this reason, statements qualify each operator with its schema, and each cast
//! with the schema of its type.

use std::fmt;

use crate::target::name::Ident;

/// A schema-qualified operator, as written in a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Operator(String);

impl Operator {
    /// Qualifies the operator `name`, such as `=`, with `schema`.
    pub(crate) fn new(schema: &Ident, name: &str) -> Self {
        Self(format!("OPERATOR({}.{name})", schema.quoted()))
    }

    /// Whether this is a built-in operator, which cannot resolve to a user-defined one.
    pub(crate) fn is_built_in(&self) -> bool {
        self.0.starts_with("OPERATOR(pg_catalog.")
    }
}

impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Built-in operators.
pub(crate) const EQ: &str = "OPERATOR(pg_catalog.=)";
pub(crate) const NE: &str = "OPERATOR(pg_catalog.<>)";
pub(crate) const LT: &str = "OPERATOR(pg_catalog.<)";
pub(crate) const LE: &str = "OPERATOR(pg_catalog.<=)";
pub(crate) const GT: &str = "OPERATOR(pg_catalog.>)";
pub(crate) const GE: &str = "OPERATOR(pg_catalog.>=)";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operator_is_qualified_with_its_schema() {
        let operator = |schema| Operator::new(&Ident::new(schema), "=").to_string();
        assert_eq!(operator("pg_catalog"), EQ);
        assert_eq!(operator("My extensions"), r#"OPERATOR("My extensions".=)"#);
    }
}
