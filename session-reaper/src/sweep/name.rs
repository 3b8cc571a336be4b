//! Names in SQL: read as PostgreSQL reads them, written so that none can be anything but a name.

use std::fmt;

use schema::connect::escaped;

/// A table or column. [`fmt::Display`] quotes it for SQL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ident(String);

/// A table, in a schema or along the `search_path`. [`fmt::Display`] quotes it for SQL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableName {
    /// Without it the `search_path` decides.
    pub schema: Option<Ident>,
    /// The table's own name.
    pub name: Ident,
}

impl Ident {
    /// The name as the catalog has it, unquoted.
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// Reads a name as SQL would: `expires_at`, `"expiresAt"`. Without quotes it is folded to lower
    /// case.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match parts(text)?.as_slice() {
            [name] => Some(name.clone()),
            _ => None,
        }
    }

    /// The name as the catalog has it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// As one would write it: with quotes where they are needed.
    #[must_use]
    pub fn quoted(&self) -> String {
        if parts(&self.0).is_some_and(|parts| parts == [self.clone()]) {
            self.0.clone()
        } else {
            // A name that would do something to a terminal is shown, and is no good as SQL.
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
    /// Reads `table`, `schema.table`, either part in quotes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match parts(text)?.as_slice() {
            [name] => Some(Self { schema: None, name: name.clone() }),
            [schema, name] => Some(Self { schema: Some(schema.clone()), name: name.clone() }),
            _ => None,
        }
    }

    /// As one would write it: with quotes where they are needed.
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

/// The parts between dots; `None` when it is no name.
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
    fn names_are_read_as_sql_reads_them() {
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
    fn a_name_is_spelt_with_quotes_where_it_needs_them() {
        let quoted = |text| TableName::parse(text).map(|name| name.quoted());
        assert_eq!(quoted(r#""public"."expiresAt""#).as_deref(), Some(r#"public."expiresAt""#));
    }
}
