//! The values that a target may set instead of deleting rows.

use std::fmt;

/// An SQL literal: `NULL`, `true`, `false`, a number, or a string in single quotes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Literal {
    /// The value as text, without quotes; `None` for `NULL`.
    value: Option<String>,
}

impl Literal {
    /// Parses a literal. Returns `None` for anything else, such as an expression, and for a string
    /// with a backslash, whose meaning depends on a setting of the server.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if text.eq_ignore_ascii_case("null") {
            return Some(Self { value: None });
        }
        let value = match text.strip_prefix('\'').map(|rest| rest.strip_suffix('\'')) {
            Some(quoted) => unquoted(quoted?)?,
            None if is_bare(text) => text.to_owned(),
            None => return None,
        };
        Some(Self { value: Some(value) })
    }

    /// Returns the value as text; `None` for `NULL`.
    pub(crate) fn value(&self) -> Option<&str> {
        self.value.as_deref()
    }
}

/// Writes the literal as SQL, with quotes around every value.
impl fmt::Display for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            None => f.write_str("NULL"),
            Some(value) => write!(f, "'{}'", value.replace('\'', "''")),
        }
    }
}

/// Returns the text between single quotes, in which each quote is doubled.
fn unquoted(text: &str) -> Option<String> {
    let plain = text.replace("''", "");
    let fits = !plain.contains('\'') && !text.contains('\\') && !text.contains(char::is_control);
    fits.then(|| text.replace("''", "'"))
}

/// Returns `true` for a Boolean value or a decimal number.
fn is_bare(text: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    ["true", "false"].iter().any(|word| text.eq_ignore_ascii_case(word))
        || (digits(whole) && digits(fraction))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_literals_are_accepted() {
        for (text, value) in [
            ("NULL", None),
            (" null ", None),
            ("true", Some("true")),
            ("-1.5", Some("-1.5")),
            ("0", Some("0")),
            ("''", Some("")),
            ("'it''s'", Some("it's")),
            ("''''", Some("'")),
        ] {
            let literal = Literal::parse(text);
            assert_eq!(literal.expect(text).value(), value, "{text}");
        }
        for text in [
            "",
            "now()",
            "a",
            "'a",
            "a'",
            "'a'b'",
            "'''",
            "'a' || 'b'",
            r"'\'",
            "1.",
            ".5",
            "--1",
            "1e3",
            "E'a'",
            "'a'::text",
            "NULL, b = 1",
            "DEFAULT",
            "'a\nb'",
            "$$a$$",
            "'",
        ] {
            assert_eq!(Literal::parse(text), None, "{text}");
        }
    }
}
