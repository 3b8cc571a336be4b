//! Lists columns that decide, or may decide, whether a row is due at the time in another column.

use super::names::{self, words};
use super::table::{Column, Table};

/// Words that are ignored at the start of the name of a flag (a column with a boolean value).
const VERBS: &[&str] = &["is", "was", "has", "does"];

/// Flags that exempt a row from deletion while they are true. The names have no separators and no
/// words of [`VERBS`].
#[rustfmt::skip]
const KEEPS_WHEN_TRUE: &[&str] = &[
    "neverexpires", "neverexpire", "neverexpiring", "expiresnever", "noexpiry", "noexpiration", "noexpire", "nonexpiring",
    "notexpire", "notexpiring", "unexpiring", "donotexpire", "dontexpire", "permanent", "perpetual", "eternal", "forever",
    "infinite", "unlimited", "indefinite", "immortal", "endless", "lifetime", "keep", "keepforever", "pinned",
    "protected", "hold", "onhold", "legalhold",
];

/// Flags that exempt a row from deletion while they are false.
#[rustfmt::skip]
const KEEPS_WHEN_FALSE: &[&str] = &[
    "expiring", "expires", "expire", "expiry", "expiration", "expirable", "expireable", "canexpire", "mayexpire", "willexpire",
    "shouldexpire", "autoexpire", "autoexpires", "expiryenabled", "expirationenabled", "expireenabled", "expiresenabled",
    "useexpiry", "temporary", "ephemeral", "transient", "deletable", "purgeable", "autodelete",
];

/// Flags that do not exempt a row from deletion.
#[rustfmt::skip]
const HARMLESS: &[&str] = &[
    "used", "consumed", "redeemed", "revoked", "invalidated", "invalid", "blacklisted", "deleted", "loggedout", "rotated",
    "secure", "httponly", "admin", "staff", "superuser", "mobile",
];

/// Columns whose presence makes it doubtful what a time in the same row means, each with the
/// reason. The names have no separators.
const DOUBTFUL: &[(&str, &str)] = &[
    ("validfrom", "a validity period is often a historical record"),
    ("effectivefrom", "a validity period is often a historical record"),
    ("startsat", APPOINTMENT),
    ("startdate", APPOINTMENT),
    ("status", STATE),
    ("state", STATE),
    ("acceptedat", "an accepted row may be a record of who invited whom"),
    ("approvedat", "an approved row may be a record"),
    ("completedat", "a completed row may be a record"),
    ("confirmedat", "a confirmed row may be the proof of the confirmation"),
    ("verifiedat", "a verified row may be the proof of the verification"),
    ("paidat", "a paid row is a record"),
    ("deliveredat", "a delivered row is a record"),
    ("amount", MONEY),
    ("price", MONEY),
    ("currency", MONEY),
    ("parentid", CHAIN),
    ("previousid", CHAIN),
    ("successorid", CHAIN),
    ("ttl", LIFETIME),
    ("lifetime", LIFETIME),
    ("maxage", LIFETIME),
    ("timeout", LIFETIME),
    ("idletimeout", LIFETIME),
    ("expiresin", LIFETIME),
];

/// Words with the same effect as [`DOUBTFUL`] if they occur anywhere in a column name, each with
/// the reason.
const DOUBTFUL_WORDS: &[(&str, &str)] = &[
    ("refresh", REFRESH),
    ("replaced", CHAIN),
    ("superseded", CHAIN),
    ("extended", EXTENDED),
    ("extension", EXTENDED),
    ("extends", EXTENDED),
    ("renewed", EXTENDED),
    ("renewal", EXTENDED),
    ("grace", EXTENDED),
    ("hold", KEPT),
    ("retain", KEPT),
    ("retention", KEPT),
    ("until", "a row may be needed until that time"),
];

const APPOINTMENT: &str = "a row with a start and an end may be an appointment";
const STATE: &str = "a row with a state may be a record of its outcome";
const MONEY: &str = "a row about money may be a record";
const CHAIN: &str = "the rows of a chain may be needed to detect the reuse of an earlier one";
const LIFETIME: &str = "the expiry may be this lifetime added to another time";
const EXTENDED: &str = "the row may have been extended beyond this time";
const KEPT: &str = "the row may have to be kept beyond this time";
// A row with a refresh token stores tokens of another service. These tokens are usable while the
// refresh token is valid.
const REFRESH: &str = "the time may be the expiry of an access token, which the refresh token in the same row outlives";

/// What follows from the other columns of a table for its time columns.
#[derive(Debug, Default)]
pub(super) struct ColumnContext {
    /// Conditions for `where` that exclude the rows that a flag exempts from deletion.
    pub(super) conditions: Vec<String>,
    pub(super) doubts: Vec<String>,
}

/// Evaluates `columns`, except the time columns `times`.
pub(super) fn look<'a>(
    table: &Table,
    columns: impl Iterator<Item = &'a Column>,
    times: &[&Column],
) -> ColumnContext {
    let mut beside = ColumnContext::default();
    let own = words(table.name.name.as_str());
    for column in columns.filter(|column| times.iter().all(|time| time.name != column.name)) {
        let name = names::ident(&column.name);
        let whole = words(column.name.as_str()).concat();
        let words = words(column.name.as_str());
        let flag = words
            .split_first()
            .filter(|(first, rest)| VERBS.contains(&first.as_str()) && !rest.is_empty())
            .map_or_else(|| whole.clone(), |(_, rest)| rest.concat());
        let flag = flag.as_str();
        let (true_keeps, false_keeps) =
            (KEEPS_WHEN_TRUE.contains(&flag), KEEPS_WHEN_FALSE.contains(&flag));
        let whole_name = DOUBTFUL.iter().find(|(doubtful, _)| *doubtful == whole);
        let a_word = DOUBTFUL_WORDS.iter().find(|(doubtful, _)| {
            // In a table `refresh_tokens`, `refresh_token` is the token of the row itself.
            words.iter().any(|word| word == doubtful) && !own.iter().any(|word| word == doubtful)
        });
        let doubtful =
            whole_name.or(a_word).map(|(_, why)| format!("there is a column {name}, and {why}"));
        let time = matches!(
            column.sql_type.as_str(),
            "timestamp with time zone" | "timestamp without time zone" | "date"
        );
        match column.sql_type.as_str() {
            "boolean" if true_keeps => beside.conditions.push(format!("t.{name} IS NOT TRUE")),
            "boolean" if false_keeps => beside.conditions.push(format!("t.{name} IS TRUE")),
            "boolean" if HARMLESS.contains(&flag) => {}
            "boolean" => beside
                .doubts
                .push(format!("{name} is a flag that may decide whether a row expires")),
            _ if doubtful.is_some() => beside.doubts.extend(doubtful),
            _ if !time && (true_keeps || false_keeps) => {
                beside.doubts.push(format!("{name} may mean that a row does not expire"));
            }
            _ => {}
        }
    }
    beside
}
