//! Splits an expression that PostgreSQL wrote out into tokens.

/// A token of an expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    Space(&'a str),
    /// A name, quoted or not, or a keyword.
    Word(&'a str),
    Operator(&'a str),
    /// A constant, a parenthesis, a comma or the like.
    Other(&'a str),
}

impl<'a> Token<'a> {
    /// Returns the text of the token.
    pub(super) fn text(self) -> &'a str {
        match self {
            Self::Space(text) | Self::Word(text) | Self::Operator(text) | Self::Other(text) => text,
        }
    }
}

const OPERATOR: &str = "+-*/<>=~!@#%^&|`?";

/// Splits an expression into tokens. The concatenation of their texts is the expression.
pub(super) fn tokens<'a>(sql: &'a str) -> Vec<Token<'a>> {
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

/// Returns the length of a quoted text, including its quotes. Doubled quotes are part of the text.
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
