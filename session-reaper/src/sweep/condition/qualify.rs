//! Writes the schema of operators, functions and types into an expression that PostgreSQL wrote out
//! on `pg_catalog`.
//!
//! Without it they would be looked up on the configured search path at each time that a statement
//! is parsed, and an operator for exactly these types that somebody creates meanwhile would win
//! against a polymorphic one of PostgreSQL's. PostgreSQL writes every operator expression in
//! brackets of its own, so that precedence does not matter. The caller has PostgreSQL read the
//! result again: what this takes for something else is found out there.

/// What an expression consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token<'a> {
    Space(&'a str),
    /// A name or a keyword, in quotes or not.
    Word(&'a str),
    Operator(&'a str),
    /// A constant, a bracket, a comma…
    Other(&'a str),
}

impl<'a> Token<'a> {
    fn text(self) -> &'a str {
        match self {
            Self::Space(text) | Self::Word(text) | Self::Operator(text) | Self::Other(text) => text,
        }
    }
}

const OPERATOR: &str = "+-*/<>=~!@#%^&|`?";

/// Types that the grammar knows, and that take no schema.
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

/// The expression with `OPERATOR(pg_catalog.…)`, `pg_catalog.…(` and `::pg_catalog.…`; unqualified
/// function names are those in lower case that stand before a bracket.
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
            // It has its schema, if not of ours.
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
            // All columns, all rows, or a named argument.
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

/// Keywords are written in capitals.
fn is_function(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_lowercase() || c == '_' || c == '"')
}

fn starts_a_query(tokens: &[Token<'_>]) -> bool {
    let mut solid =
        tokens.iter().filter(|token| !matches!(token, Token::Space(_))).map(|token| token.text());
    solid.next() == Some("(") && matches!(solid.next(), Some("SELECT" | "VALUES" | "WITH" | "("))
}

fn tokens<'a>(sql: &'a str) -> Vec<Token<'a>> {
    let mut tokens = Vec::new();
    let mut rest = sql;
    while let Some(first) = rest.chars().next() {
        let length_of = |inside: fn(char) -> bool| rest.find(|c| !inside(c)).unwrap_or(rest.len());
        let in_word = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
        let (token, length): (fn(&'a str) -> Token<'a>, usize) = match first {
            '\'' => (Token::Other, quoted(rest, '\'')),
            '"' => (Token::Word, quoted(rest, '"')),
            c if c.is_whitespace() => (Token::Space, length_of(char::is_whitespace)),
            c if c.is_ascii_digit() => {
                (Token::Other, length_of(|c| c.is_ascii_alphanumeric() || c == '.'))
            }
            c if in_word(c) => (Token::Word, length_of(in_word)),
            c if OPERATOR.contains(c) => (Token::Operator, length_of(|c| OPERATOR.contains(c))),
            ':' if rest.starts_with("::") => (Token::Other, 2),
            c => (Token::Other, c.len_utf8()),
        };
        let (text, after) = rest.split_at(length);
        tokens.push(token(text));
        rest = after;
    }
    tokens
}

/// The length of what stands in quotes, with them; doubled ones are inside.
fn quoted(text: &str, quote: char) -> usize {
    let mut inside = false;
    for (at, c) in text.char_indices() {
        if c == quote {
            inside = !inside;
        } else if !inside {
            return at;
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operators_and_functions_get_the_schema_that_they_were_found_in() {
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
