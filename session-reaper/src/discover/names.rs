//! Splits names into words, independently of the naming convention.

use reaper::{Ident, TableName};

/// Returns a name for use in SQL and in `reaper.toml`, quoted if necessary. The name may contain
/// any characters.
pub(super) fn ident(name: &Ident) -> String {
    if Ident::parse(name.as_str()).is_some_and(|parsed| parsed == *name) {
        name.as_str().to_owned()
    } else {
        name.to_string()
    }
}

/// Returns a table's name with its schema, both in the form that [`ident`] returns.
pub(super) fn table(name: &TableName) -> String {
    let schema = name.schema.as_ref().map(|schema| format!("{}.", ident(schema)));
    schema.unwrap_or_default() + &ident(&name.name)
}

/// Returns the words of `expires_at`, `expiresAt`, `ExpiresAt` or `EXPIRES_AT` in lower case.
pub(super) fn words(name: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut before = ' ';
    let mut letters = name.chars().peekable();
    while let Some(letter) = letters.next() {
        if !letter.is_alphanumeric() {
            before = ' ';
            continue;
        }
        // JSONToken and expiresAt are two words each.
        let humps = letter.is_uppercase()
            && (before.is_lowercase() || letters.peek().is_some_and(|c| c.is_lowercase()));
        if before == ' ' || humps {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut() {
            word.extend(letter.to_lowercase());
        }
        before = letter;
    }
    words
}

/// Returns the name in lower case and without separators, so that `expiresAt` and `expires_at` are
/// equal to `expiresat`.
pub(super) fn run_together(name: &str) -> String {
    name.to_lowercase().replace('_', "")
}

/// Returns whether a word is a noun or its plural.
pub(super) fn is_noun(word: &str, noun: &str) -> bool {
    let ending = word.strip_prefix(noun);
    matches!(ending, Some("" | "s" | "es"))
        || noun.strip_suffix('y').is_some_and(|stem| word.strip_suffix("ies") == Some(stem))
}

/// Words that follow the noun in the name of a column that references a row.
const REFERS: &[&str] = &["id", "uuid", "key", "fk", "ref", "pk"];

/// Returns the possible singular nouns for a row of a table, each with a flag. The flag is `true`
/// if the noun is only the last of several words. For `user_sessions`, the nouns include
/// `usersession` (`false`) and `session` (`true`).
fn nouns(table: &[String]) -> Vec<(String, bool)> {
    let Some((last, before)) = table.split_last() else { return Vec::new() };
    let plural = last.ends_with('s') && !last.ends_with("ss");
    let mut singular: Vec<String> = Some(last.clone()).filter(|_| !plural).into_iter().collect();
    singular.extend(last.strip_suffix("ies").map(|stem| format!("{stem}y")));
    singular.extend(last.strip_suffix("es").map(str::to_owned));
    singular.extend(last.strip_suffix('s').map(str::to_owned));
    let before = before.concat();
    let whole: Vec<(String, bool)> =
        singular.iter().map(|last| (format!("{before}{last}"), false)).collect();
    let last = singular.into_iter().filter(|_| !before.is_empty()).map(|last| (last, true));
    // One or two letters are not a noun.
    whole.into_iter().chain(last).filter(|(noun, _)| noun.len() > 2).collect()
}

/// Returns endings of column names. A column whose name, without separators, has one of these
/// endings may reference rows of this table.
pub(super) fn reference_ends(table: &[String]) -> Vec<String> {
    let mut ends = Vec::new();
    for (noun, _) in nouns(table) {
        ends.extend(REFERS.iter().map(|refers| format!("{noun}{refers}")));
        ends.push(noun);
    }
    ends
}

/// How a column name refers to the rows of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refers {
    /// The name ends with the noun and a word of [`REFERS`], such as `session_id` or
    /// `last_session_key`.
    ById,
    /// The name ends with the noun, such as `session`. The column is a reference only if it has the
    /// type of a key.
    ByNoun,
}

/// Returns how a column name refers to the rows of a table, and `true` if the column name matches
/// only the last word of the table's name. Returns `None` if the column name does not refer to the
/// rows.
pub(super) fn refers(column: &str, table: &[String]) -> Option<(Refers, bool)> {
    let words = words(column);
    // All suffixes of the column name, without separators.
    let tails: Vec<String> = (0..words.len()).map(|from| words[from..].concat()).collect();
    nouns(table).into_iter().find_map(|(noun, last)| {
        let by_id = REFERS.iter().any(|refers| tails.contains(&format!("{noun}{refers}")));
        if by_id {
            return Some((Refers::ById, last));
        }
        tails.contains(&noun).then_some((Refers::ByNoun, last))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn naming_conventions_yield_the_same_words() {
        for name in [
            "token_expires_at",
            "tokenExpiresAt",
            "TokenExpiresAt",
            "TOKEN_EXPIRES_AT",
            "token expires-at",
        ] {
            assert_eq!(words(name), ["token", "expires", "at"], "{name}");
        }
        assert_eq!(words("JWTTokenID"), ["jwt", "token", "id"]);
        assert_eq!(words("_"), Vec::<String>::new());
        assert_eq!(run_together("Expires_At"), "expiresat");
    }

    #[test]
    fn plural_matches_its_noun() {
        for (word, noun) in [
            ("session", "session"),
            ("sessions", "session"),
            ("entries", "entry"),
            ("hashes", "hash"),
        ] {
            assert!(is_noun(word, noun), "{word}");
        }
        assert!(!is_noun("sessionless", "session") && !is_noun("cod", "code"));
    }

    #[test]
    fn column_refers_to_the_table_in_its_name() {
        for (column, table, expected) in [
            ("session_id", "sessions", Some((Refers::ById, false))),
            ("lastSessionId", "sessions", Some((Refers::ById, false))),
            ("sessionid", "session", Some((Refers::ById, false))),
            ("session_id", "user_sessions", Some((Refers::ById, true))),
            ("user_session_key", "user_sessions", Some((Refers::ById, false))),
            ("session", "sessions", Some((Refers::ByNoun, false))),
            ("verification_uuid", "verifications", Some((Refers::ById, false))),
            ("entry_id", "cache_entries", Some((Refers::ById, true))),
            ("access_id", "access", Some((Refers::ById, false))),
            ("session_count", "sessions", None),
            ("sessions", "sessions", None),
            ("obsession_id", "sessions", None),
            ("user_id", "sessions", None),
        ] {
            assert_eq!(refers(column, &words(table)), expected, "{column} of {table}");
        }
    }
}
