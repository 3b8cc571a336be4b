//! What the names of columns say about a time, and what follows from it, as data.

use crate::sweep::Unit;

/// What a time in a row says of it.
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

/// How sure it is that rows should go by a column.
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

    /// A doubt takes one step.
    pub(super) fn lowered(self) -> Self {
        if self == Self::High { Self::Medium } else { Self::Low }
    }
}

/// The name of a column, and its meaning.
pub(super) struct ColumnSign {
    pub(super) words: &'static [&'static str],
    pub(super) meaning: Meaning,
    /// It holds for integers, too: `revoked` may be 0 or 1, `used` a count.
    pub(super) integers: bool,
    /// The name alone does not say enough: there are columns of this name that hold the last use.
    /// Values have to bear it out.
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

/// Without the words of [`NOISE`]: `expiry_date` is here as `expiry`.
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

/// At the end of a column's name, where they say no more than that it is a time; some tell what an
/// integer counts.
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

/// What follows from a meaning.
pub(super) struct Consequence {
    pub(super) meaning: Meaning,
    /// The name of the reason in `due`.
    pub(super) reason: &'static str,
    /// On the long side of what anybody keeps: it can be shortened at any time, and what is
    /// deleted is gone.
    pub(super) keep: &'static str,
    /// What the column says.
    pub(super) tells: &'static str,
    /// For rows that are fleeting, plain, lasting.
    pub(super) of_row: [Option<Sureness>; 3],
    /// The same, when the column says it about something in the row, such as
    /// `reset_token_expires_at`.
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
        tells: "when a row expires",
        of_row: [HIGH, MEDIUM, LOW],
        of_part: [MEDIUM, LOW, None],
    },
    Consequence {
        meaning: Meaning::Revocation,
        reason: "revoked",
        keep: "90d",
        tells: "when a row was revoked; reuse of a rotated token is recognised only while its row is there",
        of_row: [MEDIUM, LOW, None],
        of_part: [LOW, None, None],
    },
    Consequence {
        meaning: Meaning::Use,
        reason: "used",
        keep: "90d",
        tells: "when a row was used; a second use is recognised only while the row is there",
        of_row: [MEDIUM, LOW, None],
        of_part: [LOW, None, None],
    },
    Consequence {
        meaning: Meaning::End,
        reason: "ended",
        keep: "90d",
        tells: "when a row ended; somebody may want the record of it",
        of_row: [MEDIUM, LOW, None],
        of_part: [LOW, None, None],
    },
    Consequence {
        meaning: Meaning::Rotation,
        reason: "rotated",
        keep: "90d",
        tells: "when a row was rotated; one that is rotated in place is valid after it, and reuse is recognised only while the row is there",
        of_row: [LOW, None, None],
        of_part: [LOW, None, None],
    },
    Consequence {
        meaning: Meaning::Deletion,
        reason: "deleted",
        keep: "365d",
        tells: "when a row was marked as deleted; ask who may want it back, and which law requires it to be kept",
        of_row: [LOW, LOW, LOW],
        of_part: [None, None, None],
    },
    Consequence {
        meaning: Meaning::Rest,
        reason: "unused",
        keep: "365d",
        tells: "when a row was last used; only the application knows how long it may remain unused",
        of_row: [LOW, None, None],
        of_part: [LOW, None, None],
    },
    Consequence {
        meaning: Meaning::Change,
        reason: "unchanged",
        keep: "365d",
        tells: "when a row was last changed; only the application knows how long it may remain unchanged",
        of_row: [LOW, None, None],
        of_part: [None, None, None],
    },
    Consequence {
        meaning: Meaning::Creation,
        reason: "old",
        keep: "365d",
        tells: "when a row was made, and nothing says when it expires; only the application knows how old it may become",
        of_row: [LOW, None, None],
        of_part: [None, None, None],
    },
];

/// Columns in which the rows of one chain of rotated tokens are alike.
pub(super) const GROUPS: &[&str] =
    &["family", "familyid", "tokenfamily", "tokenfamilyid", "sessionfamily", "chainid"];
