//! Lists of nouns in table names. The nouns show how long the rows are meant to exist.

use super::names::is_noun;

/// How long the rows of a table are meant to exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rows {
    /// For a short time: sessions, tokens, codes.
    Fleeting,
    /// The name gives no indication.
    Plain,
    /// Permanently, because they are records or belong to a user: accounts, orders, coupons. An
    /// expiry time in such a row is no reason to delete the row.
    Lasting,
}

/// The position in a table's name at which a noun is recognized.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Anywhere,
    /// Only as the last word: `user_sessions` are sessions, `session_users` are users.
    Last,
}

/// Nouns in table names, in order of precedence.
#[rustfmt::skip]
const TABLES: &[(Place, Rows, &[&str])] = &[
    // Nouns for codes, tokens and sessions of a different kind (such as discount codes), or of a
    // kind that the owners keep.
    (Place::Anywhere, Rows::Lasting, &[
        "promo", "promotion", "discount", "coupon", "voucher", "gift", "referral", "checkout", "cart", "booking",
        "reservation", "appointment", "zip", "postal", "country", "currency", "error", "qr", "tax", "training", "course",
        "workout", "therapy", "chat", "game", "class", "card", "payment", "invoice", "subscription", "license",
        "licence", "product", "audit", "history", "archive", "log", "nft", "push", "api", "personal", "backup",
        "parking", "charging", "trading", "exam", "study", "lesson", "conference", "meeting", "webinar", "recording",
        "interview", "coaching", "consultation", "treatment", "support", "photo", "yoga", "workshop", "warranty",
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

/// Words that do not change the meaning of a `Rows::Fleeting` noun in the same name. Any other word
/// may change it, as in `parking_session`.
#[rustfmt::skip]
const BESIDE: &[&str] = &[
    "user", "account", "customer", "member", "admin", "administrator", "staff", "operator", "client", "web", "http",
    "browser", "mobile", "login", "logon", "signin", "signup", "register", "auth", "authentication", "authorization",
    "authorisation", "oauth", "oauth2", "o", "auth2", "oidc", "openid", "sso", "saml", "jwt", "refresh", "access", "bearer", "id",
    "csrf", "xsrf", "password", "passwd", "passwordless", "email", "mail", "phone", "sms", "totp", "mfa", "2fa",
    "factor", "magic", "link", "verify", "recovery", "temporary", "temp", "remember", "me", "one", "two", "time",
    "onetime", "webauthn", "passkey", "pkce", "state", "consumed", "used", "revoked", "request", "key", "grant",
    "forgot", "forgotten", "change", "exchange", "device", "identity", "credential", "secret", "security",
];

/// Nouns that show the meaning of a table only together with a word of [`BESIDE`]. A code, an
/// activation or a confirmation alone may belong to anything.
const VAGUE: &[&str] = &["code", "activation", "confirmation", "reset", "cache", "throttle"];

/// Words in the names of schemas in which copies or records are kept.
const KEPT: &[&str] = &["archive", "audit", "backup", "history", "log", "old"];

/// Nouns of tables whose rows are `Rows::Fleeting` but may be needed long after they have expired.
/// The second string is the reason.
const ASKED_FOR: &[(&str, &str)] = &[
    ("invite", "the record of who invited whom may be needed later"),
    ("invitation", "the record of who invited whom may be needed later"),
];

/// The minimum length of a noun that is also recognized at the end of a word, as in `refreshtoken`.
const LONG_NOUN: usize = 5;

/// The reaper's own tables, which need no target, because every run cleans them up.
pub(super) const OWN: &[&str] = &["reaper_runs", "reaper_state"];

/// Returns how long the rows of a table are meant to exist, and the noun from which this was
/// derived, if any. `table` contains the words of the table's name.
pub(super) fn rows(table: &[String]) -> (Rows, Option<&'static str>) {
    for (place, rows, nouns) in TABLES {
        let from = if *place == Place::Last { table.len().saturating_sub(1) } else { 0 };
        if let Some(noun) =
            nouns.iter().find(|noun| table[from..].iter().any(|word| stem(word, noun).is_some()))
        {
            return (*rows, Some(noun));
        }
    }
    (Rows::Plain, None)
}

/// Returns the part of a word before the noun: for the noun `token`, an empty part for `tokens` and
/// `refresh` for `refreshtokens`. Returns `None` if the word does not end with the noun.
fn stem<'a>(word: &'a str, noun: &str) -> Option<&'a str> {
    let at_end = |word: &'a str| word.strip_suffix(noun).filter(|_| noun.len() >= LONG_NOUN);
    if is_noun(word, noun) {
        Some("")
    } else {
        at_end(word).or_else(|| at_end(word.trim_end_matches('s')))
    }
}

/// Returns doubts about the name of a table with `Rows::Fleeting` rows, and about the name of the
/// schema.
pub(super) fn doubts(table: &[String], noun: &str, schema: &[String]) -> Vec<String> {
    let mut doubts = Vec::new();
    let known = |word: &str| {
        let fleeting = TABLES
            .iter()
            .filter(|(_, rows, _)| *rows == Rows::Fleeting)
            .flat_map(|(_, _, nouns)| *nouns);
        let fleeting = fleeting
            .filter_map(|noun| stem(word, noun))
            .any(|stem| stem.is_empty() || beside(stem));
        fleeting || beside(word)
    };
    if let Some(word) = table.iter().find(|word| !known(word)) {
        doubts.push(format!(
            "the word {word:?} in the table's name may change the meaning of its rows"
        ));
    }
    if VAGUE.contains(&noun) && table.iter().all(|word| is_noun(word, noun)) {
        doubts.push(format!("the table's name does not show what its {noun}s are for"));
    }
    if let Some(word) = schema.iter().find(|word| KEPT.iter().any(|kept| is_noun(word, kept))) {
        doubts
            .push(format!("its schema name contains {word:?}: the rows may be copies or records"));
    }
    doubts.extend(
        ASKED_FOR
            .iter()
            .filter(|(asked_for, _)| *asked_for == noun)
            .map(|(_, why)| (*why).to_owned()),
    );
    doubts
}

fn beside(word: &str) -> bool {
    BESIDE.iter().any(|known| is_noun(word, known))
}

#[cfg(test)]
mod tests {
    use super::super::names::words;
    use super::*;

    #[test]
    fn unknown_word_in_a_name_is_a_doubt() {
        let doubted = |table: &str| {
            let words = words(table);
            let (rows, noun) = rows(&words);
            assert_eq!(rows, Rows::Fleeting, "{table}");
            !doubts(&words, noun.unwrap(), &[]).is_empty()
        };
        for table in [
            "sessions",
            "user_sessions",
            "refreshtoken",
            "OAuth2AccessTokens",
            "jwt_denylist",
            "verification_codes",
        ] {
            assert!(!doubted(table), "{table}");
        }
        for table in [
            "wine_tasting_sessions",
            "session_store",
            "sessions_old",
            "codes",
            "fishingtokens",
            "sessions_2024",
        ] {
            assert!(doubted(table), "{table}");
        }
    }
}
