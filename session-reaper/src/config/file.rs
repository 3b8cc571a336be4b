//! Parses and validates one `reaper.toml`. [`super::targets`] combines it with presets.

use std::ops::RangeInclusive;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::location::{KeyValue, Source};
use super::{HOUR, LONGEST_KEEP};
use reaper::{Ancient, ChildTable, Ident, Literal, Order, Reason, SetColumn, TableName, Unit};

/// The range of the key `chunk`, the maximum number of rows in a transaction. It is the same as the
/// range of `MAX_CHUNK`.
const CHUNK: RangeInclusive<u32> = 1..=100_000;

const DUE: &str =
    r#"expected an array such as [{ reason = "expired", column = "expires_at", keep = "1d" }]"#;

const CHILDREN: &str = r#"expected an array such as [{ table = "tokens", column = "session_id" }]"#;

const SET: &str = r#"expected columns with SQL literals, such as { ip = "NULL", user_agent = "''" }: NULL, true, false, a number, or a string in single quotes without a backslash"#;

const COLUMNS: &str =
    r#"expected an array of different column names, such as ["session_id", "kind"]"#;

const TABLE: &str = r#"expected a name such as sessions, auth.sessions or "Session" (quoted)"#;

const COLUMN: &str = r#"expected a column name; quote a name with capital letters: '"userId"'"#;

/// The contents of a file.
pub(super) struct File {
    /// The name and the text of each preset.
    pub(super) presets: Vec<(&'static str, &'static str)>,
    pub(super) entries: Vec<Entry>,
}

/// A `[[target]]`. If a key is absent, its field is `None`. If the entry changes the target of a
/// preset, an empty `filter` removes the condition of that target, and an empty `group` removes its
/// group.
#[derive(Clone)]
pub(super) struct Entry {
    /// The byte offset of the first character of the entry.
    pub(super) at: usize,
    pub(super) table: TableName,
    /// The name of the table in the preset. Set only if the table has another schema or another
    /// name in this database.
    pub(super) replaces: Option<TableName>,
    pub(super) due: Option<Vec<Reason>>,
    pub(super) filter: Option<String>,
    pub(super) group: Option<String>,
    pub(super) children: Option<Vec<ChildTable>>,
    pub(super) set: Option<Vec<SetColumn>>,
    pub(super) ancient: Option<Ancient>,
    pub(super) order: Option<Order>,
    pub(super) enabled: Option<bool>,
    pub(super) chunk: Option<u32>,
    pub(super) confirmed: Option<bool>,
}

/// Parses a file. Errors are recorded in `source`; invalid entries are omitted from the result.
pub(super) fn read(source: &mut Source<'_>) -> File {
    let mut file = File { presets: Vec::new(), entries: Vec::new() };
    let Some(table) = source.parse() else { return file };
    // `super::file_settings` reads the tables `pace` and `throttle`.
    let [preset, target, ..] = source.keys(&table, ["preset", "target", "pace", "throttle"]);
    if let Some(found) = preset {
        file.presets = presets(source, &found);
    }
    for (at, table) in
        source.tables(target, "expected [[target]], once for each table").unwrap_or_default()
    {
        file.entries.extend(entry(source, at, table));
    }
    file
}

/// Reads one name or an array of names.
fn presets(source: &mut Source<'_>, found: &KeyValue<'_, '_>) -> Vec<(&'static str, &'static str)> {
    let values: Vec<&Spanned<DeValue<'_>>> = match found.value.get_ref() {
        DeValue::Array(array) => array.iter().collect(),
        _ => vec![found.value],
    };
    let mut presets = Vec::new();
    for value in values {
        let Some(name) = value.get_ref().as_str() else {
            source.wrong(
                value.span().start,
                "preset: expected the name of a preset or an array of names",
            );
            continue;
        };
        match super::presets::find(name) {
            Ok(preset) => presets.push(preset),
            Err(why) => source.wrong(value.span().start, format!("preset = {name:?}: {why}")),
        }
    }
    presets
}

fn entry<'s>(source: &mut Source<'s>, at: usize, keys: &DeTable<'s>) -> Option<Entry> {
    let [
        table,
        replaces,
        due,
        filter,
        group,
        children,
        set,
        ancient,
        order,
        enabled,
        chunk,
        confirmed,
    ] = source.keys(
        keys,
        [
            "table",
            "replaces",
            "due",
            "where",
            "group",
            "children",
            "set",
            "ancient",
            "order",
            "enabled",
            "chunk",
            "confirmed",
        ],
    );
    if table.is_none() {
        source.wrong(at, "[[target]] without `table`");
    }
    let table = source.read(table, TableName::parse, TABLE);
    let replaces = source.read(replaces, TableName::parse, TABLE);
    let due = source.tables(due, DUE).map(|reasons| reasons_of(source, at, &reasons));
    let filter = source.text(filter).map(|text| text.trim().to_owned());
    let column =
        |text: &str| (text.is_empty() || Ident::parse(text).is_some()).then(|| text.to_owned());
    let group = source.read(group, column, COLUMN);
    let children = source.tables(children, CHILDREN).map(|children| children_of(source, &children));
    let set = set.and_then(|set| set_of(source, &set));
    let ancient = source.read(ancient, ancient_of, r#"expected "refuse", "keep" or "due""#);
    let order =
        source.read(order, order_of, r#"expected "index" or "heap"; if absent, each pass chooses"#);
    let (enabled, chunk) = (source.truth(enabled), source.whole(chunk, CHUNK));
    let confirmed = source.truth(confirmed);
    let table = table?;
    if let Some(due) = &due {
        let at = keys.get("due").map_or(at, |due| due.span().start);
        for name in [Some(&table), replaces.as_ref()].into_iter().flatten() {
            least_retentions(source, at, name, due);
        }
    }
    Some(Entry {
        at,
        table,
        replaces,
        due,
        filter,
        group,
        children,
        set,
        ancient,
        order,
        enabled,
        chunk,
        confirmed,
    })
}

fn reasons_of<'s>(
    source: &mut Source<'s>,
    at: usize,
    tables: &[(usize, &DeTable<'s>)],
) -> Vec<Reason> {
    let mut reasons: Vec<Reason> = Vec::new();
    if tables.is_empty() {
        source.wrong(at, format!("due: {DUE}"));
    }
    for (at, table) in tables {
        let Some(reason) = reason(source, *at, table) else { continue };
        if reasons.iter().any(|other| other.name == reason.name) {
            source
                .wrong(*at, format!("reason = {:?}: duplicate reason in one target", reason.name));
        }
        reasons.push(reason);
    }
    reasons
}

fn reason<'s>(source: &mut Source<'s>, at: usize, table: &DeTable<'s>) -> Option<Reason> {
    const UNITS: [(&str, Unit); 3] =
        [("s", Unit::Seconds), ("ms", Unit::Milliseconds), ("us", Unit::Microseconds)];
    let [name, column, keep, zone, unit, filter] =
        source.keys(table, ["reason", "column", "keep", "zone", "unit", "where"]);
    for (key, found) in [("reason", &name), ("column", &column), ("keep", &keep)] {
        if found.is_none() {
            source.wrong(at, format!("due: an entry without `{key}`; {DUE}"));
        }
    }
    let plain = |text: &str| {
        let fit = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
        (!text.is_empty() && text.chars().all(fit)).then(|| text.to_owned())
    };
    let name =
        source.read(name, plain, "expected letters, digits, _ and -; the reason is a metric label");
    let column = source.read(
        column,
        Ident::parse,
        r#"expected a column name; quote a name with capital letters: '"expiresAt"'"#,
    );
    let keep =
        source.read(keep, duration, "expected a duration from 0s to 36525d, such as 1d or 36h");
    let zone = source.read(
        zone,
        |text| text.parse().ok(),
        "expected the name of an IANA time zone, such as UTC",
    );
    let unit = source.read(
        unit,
        |text| UNITS.iter().find(|(known, _)| *known == text).map(|(_, unit)| *unit),
        r#"expected "s", "ms" or "us""#,
    );
    let filter = source.text(filter).map(|text| text.trim().to_owned());
    let filter = filter.filter(|filter| !filter.is_empty());
    Some(Reason { name: name?, column: column?, keep: keep?, zone, unit, filter })
}

fn children_of<'s>(source: &mut Source<'s>, tables: &[(usize, &DeTable<'s>)]) -> Vec<ChildTable> {
    let mut children = Vec::new();
    for (at, keys) in tables {
        let [table, column, columns] = source.keys(keys, ["table", "column", "columns"]);
        let missing =
            [("table", table.is_none()), ("column", column.is_none() && columns.is_none())];
        for (key, _) in missing.into_iter().filter(|(_, missing)| *missing) {
            source.wrong(*at, format!("children: an entry without `{key}`; {CHILDREN}"));
        }
        if column.is_some() && columns.is_some() {
            source
                .wrong(*at, "children: an entry with both `column` and `columns`; remove `column`");
        }
        let table = source.read(table, TableName::parse, TABLE);
        let column = source.read(column, Ident::parse, COLUMN);
        let columns = source.names(columns, COLUMNS);
        let columns = columns.or_else(|| column.map(|column| vec![column]));
        children.extend(table.zip(columns).map(|(table, columns)| ChildTable { table, columns }));
    }
    children
}

/// Reads the columns to set. An empty table removes the columns of a preset's target.
fn set_of(source: &mut Source<'_>, found: &KeyValue<'_, '_>) -> Option<Vec<SetColumn>> {
    let Some(table) = found.value.get_ref().as_table() else {
        source.wrong_value(found, SET);
        return None;
    };
    let mut set: Vec<SetColumn> = Vec::new();
    for (name, value) in table {
        let column = Ident::parse(name.get_ref());
        let literal = value.get_ref().as_str().and_then(Literal::parse);
        let known = |set: &[SetColumn], column: &Ident| set.iter().any(|set| set.column == *column);
        match column.zip(literal) {
            Some((column, value)) if !known(&set, &column) => {
                set.push(SetColumn { column, value });
            }
            _ => source.wrong(name.span().start, format!("set: {SET}")),
        }
    }
    Some(set)
}

fn ancient_of(text: &str) -> Option<Ancient> {
    match text {
        "refuse" => Some(Ancient::Refuse),
        "keep" => Some(Ancient::Keep),
        "due" => Some(Ancient::Due),
        _ => None,
    }
}

fn order_of(text: &str) -> Option<Order> {
    match text {
        "index" => Some(Order::Index),
        "heap" => Some(Order::Heap),
        _ => None,
    }
}

fn duration(text: &str) -> Option<Duration> {
    humantime::parse_duration(text).ok().filter(|duration| *duration <= LONGEST_KEEP)
}

/// The minimum retention that auth-api requires for a table and column.
pub(super) struct Floor {
    table: &'static str,
    column: &'static str,
    pub(super) least: Duration,
    pub(super) because: &'static str,
}

const FLOORS: [Floor; 4] = [
    Floor {
        table: "sessions",
        column: "expires_at",
        least: HOUR,
        because: "the denylist is rebuilt from revoked sessions, including expired ones",
    },
    Floor {
        table: "sessions",
        column: "revoked_at",
        least: HOUR,
        because: "the denylist is rebuilt from recently revoked sessions",
    },
    Floor {
        table: "consumed_challenges",
        column: "expires_at",
        least: Duration::from_mins(10),
        because: "a challenge whose use is no longer recorded could be used again",
    },
    Floor {
        table: "accounts",
        column: "last_login_at",
        least: HOUR,
        because: "a login may be in progress",
    },
];

/// Returns the minimum retention of this table and column, if there is one.
pub(super) fn floor(table: &TableName, column: &Ident) -> Option<&'static Floor> {
    FLOORS
        .iter()
        .find(|floor| table.name.as_str() == floor.table && column.as_str() == floor.column)
}

/// Records an error for each reason whose retention is shorter than auth-api requires.
pub(super) fn least_retentions(
    source: &mut Source<'_>,
    at: usize,
    table: &TableName,
    due: &[Reason],
) {
    for Reason { column, keep, .. } in due {
        if let Some(Floor { least, because, .. }) =
            floor(table, column).filter(|floor| *keep < floor.least)
        {
            let (keep, least) =
                (humantime::format_duration(*keep), humantime::format_duration(*least));
            let (column, name) = (column.as_str(), table.name.as_str());
            source.wrong(
                at,
                format!("keep = \"{keep}\" of {column}: at least {least} for {name}; {because}"),
            );
        }
    }
}
