//! Formats errors on one line, with all causes and without values from rows.

use tokio_postgres::error::{DbError, SqlState};

/// Formats an error and all its causes on one line. Server errors may contain values from rows.
/// These values are omitted, and control characters are escaped, because the text is written to
/// logs and terminals.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = escaped(&error.to_string());
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.downcast_ref().map_or_else(|| escaped(&inner.to_string()), reported);
        if !text.ends_with(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        cause = inner.source();
    }
    text
}

/// Formats a server error. The fields DETAIL, CONTEXT and HINT are omitted, because they can quote
/// rows. The text contains the name of the constraint, the name of the table, and the SQLSTATE
/// instead. The messages of data exceptions (class 22) are also replaced, because they quote the
/// value that caused the error.
fn reported(error: &DbError) -> String {
    use std::fmt::Write as _;
    let (code, message) = (error.code(), error.message());
    let quotes = code.code().starts_with("22") && *code != SqlState::DIVISION_BY_ZERO;
    let message = if quotes { "a value could not be read, or is out of range" } else { message };
    let mut text = format!("{}: {}", error.severity(), escaped(message));
    for (what, name) in [("constraint", error.constraint()), ("table", error.table())] {
        if let Some(name) = name.filter(|name| !message.contains(*name)) {
            // Writing to a String cannot fail.
            let _ = write!(text, ", {what} {}", escaped(name));
        }
    }
    let _ = write!(text, " (SQLSTATE {})", code.code());
    text
}

/// Replaces each character for which [`is_hidden`] returns `true` with an escape sequence, such as
/// `\u{1b}`.
#[must_use]
pub fn escaped(text: &str) -> String {
    if !text.contains(is_hidden) {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if is_hidden(c) { out.extend(c.escape_default()) } else { out.push(c) }
    }
    out
}

/// Returns whether a character is a control character, a line separator, or a character that sets
/// the direction of text.
#[must_use]
pub fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}
