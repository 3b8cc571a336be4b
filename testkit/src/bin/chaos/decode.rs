//! Parses the output of `test_decoding`: the transactions in commit order, with the rows that they
//! changed.

use chrono::{DateTime, FixedOffset};

/// A change to a row of one of the tables of the round.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    Row { uid: i64, now: Option<Row> },
    Order { id: i64, now: Option<Order> },
}

/// A row of the target table. Times are in microseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) group: Option<i64>,
    pub(crate) due_at: Option<i64>,
    pub(crate) revoked_at: Option<i64>,
    pub(crate) pinned: bool,
}

/// A row of `app.orders`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Order {
    pub(crate) account: i64,
    pub(crate) open: bool,
}

/// A line of the output.
#[derive(Debug)]
pub(crate) enum Line {
    Begin,
    Commit,
    Change(Change),
    Other,
}

impl Line {
    /// Parses a line. Returns `None` if its format is unknown.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if text.starts_with("BEGIN") {
            return Some(Self::Begin);
        }
        if text.starts_with("COMMIT") {
            return Some(Self::Commit);
        }
        let Some(rest) = text.strip_prefix("table ") else { return Some(Self::Other) };
        let (_, rest) = rest.split_once(": ")?;
        let (kind, columns) = rest.split_once(": ")?;
        let columns = match kind {
            "UPDATE" => columns.split_once("new-tuple: ").map_or(columns, |(_, new)| new),
            "INSERT" | "DELETE" => columns,
            _ => return Some(Self::Other),
        };
        let columns = fields(columns)?;
        let is_delete = kind == "DELETE";
        let column = |name: &str| {
            columns
                .iter()
                .find(|(column, _)| column == name)
                .and_then(|(_, value)| value.as_deref())
        };
        let number = |name: &str| column(name)?.parse::<i64>().ok();
        let at = |name: &str| column(name).map(|text| time(text).ok_or(())).transpose();
        Some(match (number("uid"), number("account")) {
            (Some(uid), _) => {
                let row = || {
                    Some(Row {
                        group: number("grp"),
                        due_at: at("due_at").ok()?,
                        revoked_at: at("revoked_at").ok()?,
                        pinned: column("pinned")? == "true",
                    })
                };
                Self::Change(Change::Row { uid, now: if is_delete { None } else { Some(row()?) } })
            }
            (None, Some(account)) => {
                let open = column("open")? == "true";
                let now = (!is_delete).then_some(Order { account, open });
                Self::Change(Change::Order { id: number("id")?, now })
            }
            (None, None) => Self::Other,
        })
    }
}

/// Parses a timestamp, or a number of milliseconds, and returns microseconds since 1970. Returns
/// `None` if it is neither.
pub(crate) fn time(text: &str) -> Option<i64> {
    if let Ok(millis) = text.parse::<i64>() {
        return Some(millis * 1_000);
    }
    let formats = ["%Y-%m-%d %H:%M:%S%.f%#z", "%Y-%m-%dT%H:%M:%S%.f%#z"];
    let parsed = formats
        .iter()
        .find_map(|format| DateTime::<FixedOffset>::parse_from_str(text, format).ok())?;
    Some(parsed.timestamp_micros())
}

/// Splits `name[type]:value name[type]:'it''s'` into names and values.
fn fields(mut text: &str) -> Option<Vec<(String, Option<String>)>> {
    let mut found = Vec::new();
    while !text.is_empty() {
        let (name, rest) = text.split_once('[')?;
        let (_, rest) = rest.split_once("]:")?;
        let (value, rest) = if let Some(text) = rest.strip_prefix('\'') {
            quoted(text)?
        } else {
            let (value, rest) = rest.split_once(' ').unwrap_or((rest, ""));
            ((value != "null").then(|| value.to_owned()), rest)
        };
        found.push((name.to_owned(), value));
        text = rest.trim_start();
    }
    Some(found)
}

/// Returns a quoted value, and the text after its closing quote.
fn quoted(mut text: &str) -> Option<(Option<String>, &str)> {
    let mut value = String::new();
    loop {
        let (part, after) = text.split_once('\'')?;
        value.push_str(part);
        let Some(more) = after.strip_prefix('\'') else { return Some((Some(value), after)) };
        value.push('\'');
        text = more;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_test_decoding_is_read() {
        let line = "table app.t: UPDATE: old-key: uid[bigint]:1 grp[bigint]:2 new-tuple: uid[bigint]:1 grp[bigint]:null \
                    due_at[timestamp with time zone]:'2026-11-30 09:17:22.459338+00' revoked_at[bigint]:null \
                    pinned[boolean]:true note[text]:'it''s'";
        let Some(Line::Change(Change::Row { uid: 1, now: Some(row) })) = Line::parse(line) else {
            unreachable!("{:?}", Line::parse(line))
        };
        assert_eq!(
            row,
            Row {
                group: None,
                due_at: Some(1_796_030_242_459_338),
                revoked_at: None,
                pinned: true
            }
        );
        let line = "table app.orders: DELETE: id[bigint]:7 account[bigint]:9 open[boolean]:false";
        assert!(matches!(
            Line::parse(line),
            Some(Line::Change(Change::Order { id: 7, now: None }))
        ));
    }
}
