//! Lists the column names that identify the meaning of a time, and the proposal for each meaning.

use reaper::Unit;

/// The meaning of a time in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    Expiry,
    Revocation,
    Use,
    End,
    Rotation,
    Deletion,
    Rest,
    Change,
    Creation,
}

/// Confidence that a column determines when rows should be deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Sureness {
    Low,
    Medium,
    High,
}

impl Sureness {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }

    /// Returns the next lower confidence. Each doubt lowers it by one step.
    pub(super) fn lowered(self) -> Self {
        if self == Self::High { Self::Medium } else { Self::Low }
    }
}

/// A column name, and the meaning of a time in such a column.
pub(super) struct ColumnSign {
    pub(super) words: &'static [&'static str],
    pub(super) meaning: Meaning,
    /// Whether the meaning also applies to an integer column. An integer `revoked` may be 0 or 1,
    /// and `used` may be a count.
    pub(super) integers: bool,
    /// `true` if the name alone is not sufficient, because some columns with this name store the
    /// time of the last use. The values must then confirm the meaning.
    pub(super) weak: bool,
}

const fn sign(words: &'static [&'static str], meaning: Meaning) -> ColumnSign {
    ColumnSign { words, meaning, integers: true, weak: false }
}

const fn times_only(words: &'static [&'static str], meaning: Meaning) -> ColumnSign {
    ColumnSign { words, meaning, integers: false, weak: false }
}

const fn weak(words: &'static [&'static str], meaning: Meaning) -> ColumnSign {
    ColumnSign { words, meaning, integers: true, weak: true }
}

/// Column names without the words of [`NOISE`]: `expiry_date` is listed as `expiry`.
#[rustfmt::skip]
pub(super) const COLUMNS: &[ColumnSign] = &[
    sign(&["expires", "at"], Meaning::Expiry),
    sign(&["expire", "at"], Meaning::Expiry),
    sign(&["expires", "on"], Meaning::Expiry),
    sign(&["expires"], Meaning::Expiry),
    sign(&["expire"], Meaning::Expiry),
    weak(&["expiry"], Meaning::Expiry),
    weak(&["expiry", "at"], Meaning::Expiry),
    weak(&["expiration"], Meaning::Expiry),
    weak(&["expiration", "at"], Meaning::Expiry),
    weak(&["deadline"], Meaning::Expiry),
    sign(&["exp"], Meaning::Expiry),
    times_only(&["expired", "at"], Meaning::Expiry),
    ColumnSign { words: &["expired"], meaning: Meaning::Expiry, integers: false, weak: true },
    sign(&["valid", "until"], Meaning::Expiry),
    sign(&["valid", "till"], Meaning::Expiry),
    sign(&["valid", "to"], Meaning::Expiry),
    sign(&["valid", "before"], Meaning::Expiry),
    sign(&["not", "after"], Meaning::Expiry),
    sign(&["not", "valid", "after"], Meaning::Expiry),
    sign(&["purge", "at"], Meaning::Expiry),
    sign(&["purge", "after"], Meaning::Expiry),
    sign(&["delete", "after"], Meaning::Expiry),
    sign(&["revoked", "at"], Meaning::Revocation),
    times_only(&["revoked"], Meaning::Revocation),
    times_only(&["revocation"], Meaning::Revocation),
    sign(&["invalidated", "at"], Meaning::Revocation),
    sign(&["logged", "out", "at"], Meaning::Revocation),
    sign(&["logout", "at"], Meaning::Revocation),
    sign(&["consumed", "at"], Meaning::Use),
    sign(&["used", "at"], Meaning::Use),
    sign(&["redeemed", "at"], Meaning::Use),
    times_only(&["consumed"], Meaning::Use),
    sign(&["finished", "at"], Meaning::End),
    sign(&["ended", "at"], Meaning::End),
    sign(&["terminated", "at"], Meaning::End),
    sign(&["closed", "at"], Meaning::End),
    times_only(&["finished"], Meaning::End),
    times_only(&["ended"], Meaning::End),
    sign(&["rotated", "at"], Meaning::Rotation),
    times_only(&["rotated"], Meaning::Rotation),
    sign(&["deleted", "at"], Meaning::Deletion),
    times_only(&["deleted"], Meaning::Deletion),
    sign(&["removed", "at"], Meaning::Deletion),
    sign(&["last", "activity"], Meaning::Rest),
    sign(&["last", "activity", "at"], Meaning::Rest),
    sign(&["last", "active"], Meaning::Rest),
    sign(&["last", "active", "at"], Meaning::Rest),
    sign(&["last", "seen"], Meaning::Rest),
    sign(&["last", "seen", "at"], Meaning::Rest),
    sign(&["last", "use"], Meaning::Rest),
    sign(&["last", "used"], Meaning::Rest),
    sign(&["last", "used", "at"], Meaning::Rest),
    sign(&["last", "access"], Meaning::Rest),
    sign(&["last", "accessed"], Meaning::Rest),
    sign(&["last", "accessed", "at"], Meaning::Rest),
    sign(&["last", "login"], Meaning::Rest),
    sign(&["last", "login", "at"], Meaning::Rest),
    sign(&["last", "refresh"], Meaning::Rest),
    sign(&["last", "session", "refresh"], Meaning::Rest),
    sign(&["seen", "at"], Meaning::Rest),
    sign(&["accessed", "at"], Meaning::Rest),
    sign(&["refreshed", "at"], Meaning::Rest),
    sign(&["updated", "at"], Meaning::Change),
    sign(&["modified", "at"], Meaning::Change),
    sign(&["created", "at"], Meaning::Creation),
    sign(&["created"], Meaning::Creation),
    sign(&["created", "on"], Meaning::Creation),
    sign(&["inserted", "at"], Meaning::Creation),
    sign(&["issued", "at"], Meaning::Creation),
    sign(&["iat"], Meaning::Creation),
];

/// Words at the end of a column name that show only that the column contains a time. Some also show
/// the unit of an integer.
pub(super) const NOISE: &[(&str, Option<Unit>)] = &[
    ("date", None),
    ("time", None),
    ("ts", None),
    ("timestamp", None),
    ("utc", None),
    ("epoch", None),
    ("unix", None),
    ("s", Some(Unit::Seconds)),
    ("sec", Some(Unit::Seconds)),
    ("secs", Some(Unit::Seconds)),
    ("seconds", Some(Unit::Seconds)),
    ("ms", Some(Unit::Milliseconds)),
    ("millis", Some(Unit::Milliseconds)),
    ("us", Some(Unit::Microseconds)),
    ("micros", Some(Unit::Microseconds)),
];

/// The proposal for a meaning.
pub(super) struct Consequence {
    pub(super) meaning: Meaning,
    /// The name of the reason in `due`.
    pub(super) reason: &'static str,
    /// The proposed retention period. It is long, because it can be shortened at any time, but
    /// deleted rows cannot be restored.
    pub(super) keep: &'static str,
    /// Describes the contents of the column.
    pub(super) tells: &'static str,
    /// The confidence for `Rows::Fleeting`, `Rows::Plain` and `Rows::Lasting`, in this order.
    pub(super) of_row: [Option<Sureness>; 3],
    /// The confidence, in the same order, if the column describes only a part of the row, as
    /// `reset_token_expires_at` does.
    pub(super) of_part: [Option<Sureness>; 3],
}

const HIGH: Option<Sureness> = Some(Sureness::High);
const MEDIUM: Option<Sureness> = Some(Sureness::Medium);
const LOW: Option<Sureness> = Some(Sureness::Low);

pub(super) const CONSEQUENCES: &[Consequence] = &[
    Consequence {
        meaning: Meaning::Expiry,
        reason: "expired",
        keep: "30d",
        tells: "the time when a row expires",
        of_row: [HIGH, MEDIUM, LOW],
        of_part: [MEDIUM, LOW, None],
    },
    Consequence {
        meaning: Meaning::Revocation,
        reason: "revoked",
        keep: "90d",
        tells: "the time when a row was revoked; reuse of a rotated token is detected only while its row exists",
        of_row: [MEDIUM, LOW, None],
        of_part: [LOW, None, None],
    },
    Consequence {
        meaning: Meaning::Use,
        reason: "used",
        keep: "90d",
        tells: "the time when a row was used; a second use is detected only while the row exists",
        of_row: [MEDIUM, LOW, None],
        of_part: [LOW, None, None],
    },
    Consequence {
        meaning: Meaning::End,
        reason: "ended",
        keep: "90d",
        tells: "the time when a row ended; the row may be needed as a record",
        of_row: [MEDIUM, LOW, None],
        of_part: [LOW, None, None],
    },
    Consequence {
        meaning: Meaning::Rotation,
        reason: "rotated",
        keep: "90d",
        tells: "the time when a row was rotated; a row that is rotated in place remains valid, and reuse is detected only while the row exists",
        of_row: [LOW, None, None],
        of_part: [LOW, None, None],
    },
    Consequence {
        meaning: Meaning::Deletion,
        reason: "deleted",
        keep: "365d",
        tells: "the time when a row was marked as deleted; check whether it may have to be restored, and whether a law requires it to be kept",
        of_row: [LOW, LOW, LOW],
        of_part: [None, None, None],
    },
    Consequence {
        meaning: Meaning::Rest,
        reason: "unused",
        keep: "365d",
        tells: "the time when a row was last used; how long it may remain unused depends on the application",
        of_row: [LOW, None, None],
        of_part: [LOW, None, None],
    },
    Consequence {
        meaning: Meaning::Change,
        reason: "unchanged",
        keep: "365d",
        tells: "the time when a row was last changed; how long it may remain unchanged depends on the application",
        of_row: [LOW, None, None],
        of_part: [None, None, None],
    },
    Consequence {
        meaning: Meaning::Creation,
        reason: "old",
        keep: "365d",
        tells: "the time when a row was created, and no column stores when it expires; how old it may become depends on the application",
        of_row: [LOW, None, None],
        of_part: [None, None, None],
    },
];

/// Columns that have the same value in all tokens of a chain in which each token replaced the
/// previous one.
pub(super) const GROUPS: &[&str] =
    &["family", "familyid", "tokenfamily", "tokenfamilyid", "sessionfamily", "chainid"];
