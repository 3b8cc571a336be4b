//! Text in a TOML file.

use pg::error_text::is_hidden;

/// Returns a TOML string, in single quotes where that avoids escapes.
pub(super) fn quoted(text: &str) -> String {
    let literal = text.contains('"') && !text.contains('\'') && !text.chars().any(is_hidden);
    if literal {
        return format!("'{text}'");
    }
    // TOML accepts the escapes of JSON, and also requires DEL to be escaped.
    let escaped =
        |c: char| if is_hidden(c) { format!("\\u{:04x}", u32::from(c)) } else { c.to_string() };
    serde_json::Value::from(text).to_string().chars().map(escaped).collect()
}

/// Escapes characters that TOML does not allow in a line or that reorder text on a screen.
pub(super) fn plain(text: &str) -> String {
    let escaped =
        |c: char| if is_hidden(c) { c.escape_unicode().to_string() } else { c.to_string() };
    text.chars().map(escaped).collect()
}
