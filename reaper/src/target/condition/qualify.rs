//! Adds the schema of operators, functions and types to an expression that PostgreSQL wrote out
//! with only `pg_catalog` on the search path.
//!
//! Without a schema, these names would be looked up on the configured search path each time a
//! statement is parsed. If another role created an operator for exactly the same types, this
//! operator would be used instead of a polymorphic operator of PostgreSQL.
//!
//! The form `OPERATOR(…)` may change the precedence of an operator. This has no effect, because
//! PostgreSQL encloses every operator expression in parentheses. The caller has PostgreSQL parse
//! the result again, which detects any token that this module misinterprets.

use super::tokens::{Token, tokens};

/// Types whose names are keywords of the grammar, which cannot be qualified with a schema.
const TYPE_KEYWORDS: [&str; 12] = [
    "bigint",
    "bit",
    "boolean",
    "character",
    "double",
    "integer",
    "interval",
    "numeric",
    "real",
    "smallint",
    "time",
    "timestamp",
];

/// Returns the expression with operators as `OPERATOR(pg_catalog.…)`, functions as `pg_catalog.…(`
/// and types as `::pg_catalog.…`. A lowercase or quoted word before a parenthesis is a function
/// name.
pub(super) fn qualified(sql: &str) -> String {
    let tokens = tokens(sql);
    let mut out = String::with_capacity(sql.len() * 2);
    let solid = |from: usize| {
        tokens[from..].iter().find(|token| !matches!(token, Token::Space(_))).map(|t| t.text())
    };
    let mut before = "";
    let mut index = 0;
    while let Some(&token) = tokens.get(index) {
        let next = tokens.get(index + 1).map_or("", |token| token.text());
        match token {
            // The operator already has a schema other than `pg_catalog`.
            Token::Word("OPERATOR") if next == "(" => {
                while let Some(token) = tokens.get(index).filter(|token| token.text() != ")") {
                    out.push_str(token.text());
                    index += 1;
                }
                out.push(')');
            }
            Token::Word("IN")
                if solid(index + 1) == Some("(") && starts_a_query(&tokens[index + 1..]) =>
            {
                out.push_str("OPERATOR(pg_catalog.=) ANY");
            }
            Token::Word(name)
                if next == "(" && is_function(name) && !matches!(before, "." | "::" | "AS") =>
            {
                out.push_str("pg_catalog.");
                out.push_str(name);
            }
            Token::Word(name)
                if before == "::" && next != "." && !TYPE_KEYWORDS.contains(&name) =>
            {
                out.push_str("pg_catalog.");
                out.push_str(name);
            }
            // `*` stands here for all columns or all rows, and `=>` names an argument. Neither is
            // an operator.
            Token::Operator("*") if matches!(before, "(" | ".") => out.push('*'),
            Token::Operator("=>") => out.push_str("=>"),
            Token::Operator(operator) => {
                out.push_str("OPERATOR(pg_catalog.");
                out.push_str(operator);
                out.push(')');
            }
            other => out.push_str(other.text()),
        }
        if !matches!(token, Token::Space(_)) {
            before = tokens.get(index).map_or("", |token| token.text());
        }
        index += 1;
    }
    out
}

/// Returns whether `word` is a name and not a keyword. PostgreSQL writes keywords in capitals.
fn is_function(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_lowercase() || c == '_' || c == '"')
}

fn starts_a_query(tokens: &[Token<'_>]) -> bool {
    let mut solid =
        tokens.iter().filter(|token| !matches!(token, Token::Space(_))).map(|token| token.text());
    solid.next() == Some("(") && matches!(solid.next(), Some("SELECT" | "VALUES" | "WITH" | "("))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_without_a_schema_are_qualified() {
        for (written, expected) in [
            ("(t.a = 1)", "(t.a OPERATOR(pg_catalog.=) 1)"),
            ("(t.a OPERATOR(public.=) 1)", "(t.a OPERATOR(public.=) 1)"),
            (
                "(lower((t.k)::text) <> 'a = b'::text)",
                "(pg_catalog.lower((t.k)::pg_catalog.text) OPERATOR(pg_catalog.<>) 'a = b'::pg_catalog.text)",
            ),
            ("app.f(t.*)", "app.f(t.*)"),
            ("(- t.a)", "(OPERATOR(pg_catalog.-) t.a)"),
            ("(count(*) > 1)", "(pg_catalog.count(*) OPERATOR(pg_catalog.>) 1)"),
            ("(t.a = ANY (ARRAY[1, 2]))", "(t.a OPERATOR(pg_catalog.=) ANY (ARRAY[1, 2]))"),
            ("(t.a IN ( SELECT 1))", "(t.a OPERATOR(pg_catalog.=) ANY ( SELECT 1))"),
            ("POSITION(('o'::text) IN (t.k))", "POSITION(('o'::pg_catalog.text) IN (t.k))"),
            (
                "COALESCE(\"f g\"(t.\"a=b\"), '''='::text)",
                "COALESCE(pg_catalog.\"f g\"(t.\"a=b\"), '''='::pg_catalog.text)",
            ),
            ("(t.a)::numeric(10,2)", "(t.a)::numeric(10,2)"),
            (
                "make_interval(secs => (5)::double precision)",
                "pg_catalog.make_interval(secs => (5)::double precision)",
            ),
        ] {
            assert_eq!(qualified(written), expected);
        }
    }
}
