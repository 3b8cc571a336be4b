//! What names tell, as data: of columns, what their time means; of tables, for how long their rows are meant to be there.

use crate::sweep::Unit;

/// What a time in a row says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    Expiry,
    Revocation,
    Use,
    Deletion,
    Rest,
    Creation,
}

/// How long rows of a table are meant to be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rows {
    /// A short time: sessions, tokens, codes.
    Fleeting,
    /// The name does not tell.
    Plain,
    /// They are somebody's, or a record: accounts, orders, coupons. That something in them expires is no reason to delete them.
    Lasting,
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

/// The name of a column, its meaning, and whether that holds for integers: `revoked` may be 0 or 1, `used` a count.
pub(super) struct ColumnSign {
    pub(super) words: &'static [&'static str],
    pub(super) meaning: Meaning,
    pub(super) integers: bool,
}

const fn sign(words: &'static [&'static str], meaning: Meaning) -> ColumnSign {
    ColumnSign { words, meaning, integers: true }
}

const fn times_only(words: &'static [&'static str], meaning: Meaning) -> ColumnSign {
    ColumnSign { words, meaning, integers: false }
}

/// Without the words of [`NOISE`]: `expiry_date` is here as `expiry`.
pub(super) const COLUMNS: &[ColumnSign] = &[
    sign(&["expires", "at"], Meaning::Expiry),
    sign(&["expire", "at"], Meaning::Expiry),
    sign(&["expires", "on"], Meaning::Expiry),
    sign(&["expires"], Meaning::Expiry),
    sign(&["expire"], Meaning::Expiry),
    sign(&["expiry"], Meaning::Expiry),
    sign(&["expiration"], Meaning::Expiry),
    sign(&["exp"], Meaning::Expiry),
    times_only(&["expired", "at"], Meaning::Expiry),
    sign(&["valid", "until"], Meaning::Expiry),
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
    sign(&["consumed", "at"], Meaning::Use),
    sign(&["used", "at"], Meaning::Use),
    sign(&["redeemed", "at"], Meaning::Use),
    times_only(&["consumed"], Meaning::Use),
    sign(&["deleted", "at"], Meaning::Deletion),
    times_only(&["deleted"], Meaning::Deletion),
    sign(&["removed", "at"], Meaning::Deletion),
    sign(&["last", "activity"], Meaning::Rest),
    sign(&["last", "active", "at"], Meaning::Rest),
    sign(&["last", "seen", "at"], Meaning::Rest),
    sign(&["last", "used", "at"], Meaning::Rest),
    sign(&["last", "accessed", "at"], Meaning::Rest),
    sign(&["created", "at"], Meaning::Creation),
    sign(&["created"], Meaning::Creation),
    sign(&["inserted", "at"], Meaning::Creation),
    sign(&["issued", "at"], Meaning::Creation),
    sign(&["iat"], Meaning::Creation),
];

/// At the end of a column's name, where they say no more than that it is a time; some tell what an integer counts.
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

/// What comes of a meaning.
pub(super) struct Consequence {
    pub(super) meaning: Meaning,
    /// The name of the reason in `due`.
    pub(super) reason: &'static str,
    /// On the long side of what anybody keeps: it is shortened at leisure, and what is deleted is gone.
    pub(super) keep: &'static str,
    /// What the column tells.
    pub(super) tells: &'static str,
    /// For rows that are fleeting, plain, lasting.
    pub(super) of_row: [Option<Sureness>; 3],
    /// The same, when the column tells it of something in the row, such as `reset_token_expires_at`.
    pub(super) of_part: [Option<Sureness>; 3],
}

pub(super) const CONSEQUENCES: &[Consequence] = &[
    Consequence {
        meaning: Meaning::Expiry,
        reason: "expired",
        keep: "30d",
        tells: "when a row expires",
        of_row: [Some(Sureness::High), Some(Sureness::Medium), Some(Sureness::Low)],
        of_part: [Some(Sureness::Medium), Some(Sureness::Low), None],
    },
    Consequence {
        meaning: Meaning::Revocation,
        reason: "revoked",
        keep: "90d",
        tells: "when a row was revoked; reuse of a rotated token is recognised only while its row is there",
        of_row: [Some(Sureness::Medium), Some(Sureness::Low), None],
        of_part: [Some(Sureness::Low), None, None],
    },
    Consequence {
        meaning: Meaning::Use,
        reason: "used",
        keep: "90d",
        tells: "when a row was used; a second use is recognised only while the row is there",
        of_row: [Some(Sureness::Medium), Some(Sureness::Low), None],
        of_part: [Some(Sureness::Low), None, None],
    },
    Consequence {
        meaning: Meaning::Deletion,
        reason: "deleted",
        keep: "365d",
        tells: "when a row was marked as deleted; ask who may want it back, and which law wants it kept",
        of_row: [Some(Sureness::Low), Some(Sureness::Low), Some(Sureness::Low)],
        of_part: [None, None, None],
    },
    Consequence {
        meaning: Meaning::Rest,
        reason: "unused",
        keep: "365d",
        tells: "when a row was last used; how long it may rest is the application's to say",
        of_row: [Some(Sureness::Low), None, None],
        of_part: [None, None, None],
    },
    Consequence {
        meaning: Meaning::Creation,
        reason: "old",
        keep: "365d",
        tells: "when a row was made, and nothing tells when it expires; how old it may become is the application's to say",
        of_row: [Some(Sureness::Low), None, None],
        of_part: [None, None, None],
    },
];

/// Where in a table's name a noun counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Anywhere,
    /// The last word: what the rows are. `user_sessions` are sessions, `session_users` are users.
    Last,
}

/// Nouns in the names of tables, looked through in this order.
#[rustfmt::skip]
pub(super) const TABLES: &[(Place, Rows, &[&str])] = &[
    // Codes, tokens and sessions of another kind, or that their owner keeps.
    (Place::Anywhere, Rows::Lasting, &[
        "promo", "promotion", "discount", "coupon", "voucher", "gift", "referral", "checkout", "cart", "booking",
        "reservation", "appointment", "zip", "postal", "country", "currency", "error", "qr", "tax", "training", "course",
        "workout", "therapy", "chat", "game", "class", "card", "payment", "invoice", "subscription", "license",
        "licence", "product", "audit", "history", "archive", "log", "nft", "push", "api", "personal",
    ]),
    (Place::Last, Rows::Fleeting, &[
        "session", "token", "code", "challenge", "nonce", "otp", "verification", "invite", "invitation", "captcha", "csrf",
        "reset", "confirmation", "activation", "passcode", "idempotency", "denylist", "blacklist", "blocklist", "cache",
        "handshake", "throttle", "jti",
    ]),
    (Place::Last, Rows::Lasting, &[
        "user", "account", "customer", "member", "person", "people", "employee", "profile", "order", "purchase", "plan",
        "contract", "certificate", "domain", "item", "listing", "offer", "policy", "insurance", "document", "project",
        "tenant", "organization", "organisation", "company", "team", "role", "permission", "membership", "event", "campaign",
        "message", "device", "client", "application", "job",
    ]),
    (Place::Anywhere, Rows::Fleeting, &[
        "session", "token", "challenge", "nonce", "otp", "verification", "invitation", "captcha", "idempotency",
    ]),
];

/// Fleeting rows that are asked for long after they have expired.
pub(super) const ASKED_FOR: &[(&str, &str)] =
    &[("invite", "who invited whom may be asked for later"), ("invitation", "who invited whom may be asked for later")];

/// A noun of so many letters counts at the end of a word, too: `refreshtoken`.
pub(super) const LONG_NOUN: usize = 5;

/// Columns in which the rows of one chain of rotated tokens are alike.
pub(super) const GROUPS: &[&str] = &["family", "familyid", "tokenfamily", "tokenfamilyid", "sessionfamily", "chainid"];

/// Columns beside a time that make what it tells doubtful, without underscores.
pub(super) const BESIDE: &[(&str, &str)] = &[
    ("validfrom", "a validity from … to is often a record of what was valid when"),
    ("effectivefrom", "a validity from … to is often a record of what was valid when"),
    ("startsat", "with a beginning and an end a row may be an appointment"),
    ("startdate", "with a beginning and an end a row may be an appointment"),
    ("status", "a row with a status may be a record of what came of it"),
    ("acceptedat", "an accepted row may be a record of who came by whom"),
    ("approvedat", "an approved row may be a record"),
    ("completedat", "a completed row may be a record"),
    ("confirmedat", "a confirmed row may be the proof of it"),
    ("verifiedat", "a verified row may be the proof of it"),
    ("paidat", "a paid row is a record"),
    ("deliveredat", "a delivered row is a record"),
    // The tokens of another service, by which it may be used for as long as the refresh token is good.
    ("refreshtoken", REFRESH),
    ("refreshtokenid", REFRESH),
    ("refreshtokenhash", REFRESH),
    ("refreshtokenencrypted", REFRESH),
    ("encryptedrefreshtoken", REFRESH),
    ("refreshtokenexpires", REFRESH),
    ("refreshtokenexpiresat", REFRESH),
    ("refreshexpiresat", REFRESH),
];

const REFRESH: &str = "the time may be that of an access token, which the refresh token in the same row outlives";

/// The reaper's own, which every run sees to.
pub(super) const OWN: &[&str] = &["reaper_runs", "reaper_state"];
