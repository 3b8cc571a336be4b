//! Formats the output of the tour.

use std::io::IsTerminal as _;

use serde_json::{Value, json};

pub(crate) fn title(number: u8, title: &str) {
    if std::io::stdout().is_terminal() {
        println!("\n\x1b[1m{number}. {title}\x1b[0m");
    } else {
        println!("\n{number}. {title}");
    }
}

/// Prints a line after a response.
pub(crate) fn then(line: &str) {
    println!();
    text(line);
}

pub(crate) fn text(line: &str) {
    println!("   {line}");
}

/// Shortens a secret to its beginning and end, which is enough to tell secrets apart.
pub(crate) fn shortened(secret: &str) -> String {
    match (secret.get(..8), secret.len().checked_sub(6).and_then(|at| secret.get(at..))) {
        (Some(head), Some(tail)) if secret.len() > 20 => format!("{head}…{tail}"),
        _ => secret.to_owned(),
    }
}

/// Formats a number with a thousands separator.
pub(crate) fn grouped(number: i32) -> String {
    format!("{},{:03}", number / 1000, number % 1000)
}

/// Maximum line width.
const WIDTH: usize = 98;

/// Formats JSON on one line, or with one field on each line if it is too wide.
pub(crate) fn pretty(value: &Value, indent: usize) -> String {
    let line = value.to_string();
    let Some(fields) = value.as_object().filter(|_| indent + line.chars().count() > WIDTH) else {
        return line;
    };
    let margin = " ".repeat(indent + 1);
    let lines = fields.iter().map(|(name, value)| {
        let name = json!(name).to_string();
        format!("{name}: {}", pretty(value, indent + 3 + name.len()))
    });
    format!("{{{}}}", lines.collect::<Vec<_>>().join(&format!(",\n{margin}")))
}

/// Shortens secrets and long messages in a JSON object.
pub(crate) fn redacted(value: &Value) -> Value {
    let fields = value.as_object().into_iter().flatten().map(|(name, value)| {
        let value = match (name.as_str(), value.as_str()) {
            ("access_token" | "refresh_token" | "signature", Some(secret)) => {
                json!(shortened(secret))
            }
            ("message", Some(message)) => {
                json!(format!("{}…", message.get(..24).unwrap_or(message)))
            }
            _ => value.clone(),
        };
        (name.clone(), value)
    });
    Value::Object(fields.collect())
}
