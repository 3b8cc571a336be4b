//! SQL names. They are parsed by PostgreSQL's rules, and always quoted in statements, so that the
//! server cannot interpret a name as anything else.

use std::fmt;

use pg::error_text::escaped;

/// The name of a table or a column. [`fmt::Display`] quotes it for SQL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ident(String);

/// The name of a table, with an optional schema. [`fmt::Display`] quotes it for SQL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableName {
    /// The schema. If `None`, the table is found through the `search_path`.
    pub schema: Option<Ident>,
    /// The name of the table without its schema.
    pub name: Ident,
}

impl Ident {
    /// Creates a name from its unquoted form, as in the catalog.
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// Parses a name as SQL does, such as `expires_at` or `"expiresAt"`. An unquoted name is folded
    /// to lower case.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match parts(text)?.as_slice() {
            [name] => Some(name.clone()),
            _ => None,
        }
    }

    /// Returns the unquoted name, as in the catalog.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the name as it is written in SQL, with quotes only where they are required.
    #[must_use]
    pub fn quoted(&self) -> String {
        if parts(&self.0).is_some_and(|parts| parts == [self.clone()]) {
            self.0.clone()
        } else {
            // Control characters are escaped for the terminal. The result is for display and is not
            // valid SQL.
            escaped(&self.to_string())
        }
    }
}

impl fmt::Display for Ident {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.replace('"', "\"\""))
    }
}

impl TableName {
    /// Creates the name of a table that is found through the `search_path`.
    pub fn new(name: impl Into<String>) -> Self {
        Self { schema: None, name: Ident::new(name) }
    }

    /// Parses `table` or `schema.table`. Each part may be quoted.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match parts(text)?.as_slice() {
            [name] => Some(Self { schema: None, name: name.clone() }),
            [schema, name] => Some(Self { schema: Some(schema.clone()), name: name.clone() }),
            _ => None,
        }
    }

    /// Returns the name as it is written in SQL, with quotes only where they are required.
    #[must_use]
    pub fn quoted(&self) -> String {
        let schema = self.schema.as_ref().map(|schema| format!("{}.", schema.quoted()));
        schema.unwrap_or_default() + &self.name.quoted()
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(schema) = &self.schema {
            write!(f, "{schema}.")?;
        }
        write!(f, "{}", self.name)
    }
}

/// Splits a name at its dots. Returns `None` if the text is not a valid name.
fn parts(text: &str) -> Option<Vec<Ident>> {
    let mut parts = Vec::new();
    let mut rest = text;
    loop {
        let (part, after) = if let Some(quoted) = rest.strip_prefix('"') {
            in_quotes(quoted)?
        } else {
            bare(rest)?
        };
        parts.push(part);
        match after.strip_prefix('.') {
            Some(next) => rest = next,
            None if after.is_empty() => return Some(parts),
            None => return None,
        }
    }
}

fn in_quotes(mut rest: &str) -> Option<(Ident, &str)> {
    let mut name = String::new();
    loop {
        let (before, after) = rest.split_once('"')?;
        name.push_str(before);
        match after.strip_prefix('"') {
            Some(after) => {
                name.push('"');
                rest = after;
            }
            None if name.is_empty() || name.contains('\0') => return None,
            None => return Some((Ident(name), after)),
        }
    }
}

fn bare(rest: &str) -> Option<(Ident, &str)> {
    let inside = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '$' || !c.is_ascii();
    let (name, after) = rest.split_at(rest.find(|c| !inside(c)).unwrap_or(rest.len()));
    let first = name.chars().next()?;
    (!first.is_ascii_digit() && first != '$').then(|| (Ident(name.to_ascii_lowercase()), after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_parsed_as_in_sql() {
        for (text, schema, name) in [
            ("sessions", None, "sessions"),
            ("Auth.Sessions", Some("auth"), "sessions"),
            (r#""Auth"."my ""own"" table""#, Some("Auth"), r#"my "own" table"#),
            (r#"public."a.b""#, Some("public"), "a.b"),
        ] {
            let parsed = TableName { schema: schema.map(Ident::new), name: Ident::new(name) };
            assert_eq!(TableName::parse(text), Some(parsed), "{text}");
        }
        for text in ["", "a.b.c", "a b", "1a", r#""a"#, r#""a"b"#, "a.", ".a", "a;--", r#""""#] {
            assert_eq!(TableName::parse(text), None, "{text}");
        }
    }

    #[test]
    fn name_is_quoted_only_where_required() {
        let quoted = |text| TableName::parse(text).map(|name| name.quoted());
        assert_eq!(quoted(r#""public"."expiresAt""#).as_deref(), Some(r#"public."expiresAt""#));
    }
}
