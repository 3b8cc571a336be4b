//! Names taken apart into words, however their project writes them.

use crate::sweep::{Ident, TableName};

/// A name as SQL and `reaper.toml` take it: with quotes where they are needed, and with whatever
/// characters it has.
pub(super) fn ident(name: &Ident) -> String {
    if Ident::parse(name.as_str()).is_some_and(|parsed| parsed == *name) {
        name.as_str().to_owned()
    } else {
        name.to_string()
    }
}

/// The same for a table, with its schema.
pub(super) fn table(name: &TableName) -> String {
    let schema = name.schema.as_ref().map(|schema| format!("{}.", ident(schema)));
    schema.unwrap_or_default() + &ident(&name.name)
}

/// The words of `expires_at`, `expiresAt`, `ExpiresAt` and `EXPIRES_AT`, in lower case.
pub(super) fn words(name: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut before = ' ';
    let mut letters = name.chars().peekable();
    while let Some(letter) = letters.next() {
        if !letter.is_alphanumeric() {
            before = ' ';
            continue;
        }
        // JSONToken is two words, and so is expiresAt.
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

/// The name without what tells its words apart: `expiresAt`, `expires_at` and `expiresat` are one.
pub(super) fn run_together(name: &str) -> String {
    name.to_lowercase().replace('_', "")
}

/// Whether a word is a noun or its plural.
pub(super) fn is_noun(word: &str, noun: &str) -> bool {
    let ending = word.strip_prefix(noun);
    matches!(ending, Some("" | "s" | "es"))
        || noun.strip_suffix('y').is_some_and(|stem| word.strip_suffix("ies") == Some(stem))
}

/// What a column is called that refers to a row, after the noun.
const REFERS: &[&str] = &["id", "uuid", "key", "fk", "ref", "pk"];

/// The nouns for one row of a table, in the forms that its plural may have, and whether it is the
/// last word of several: `user_sessions` has `usersession` and, as its last word, `session`.
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
    // A letter or two are no noun.
    whole.into_iter().chain(last).filter(|(noun, _)| noun.len() > 2).collect()
}

/// How the names of columns end, run together, that may refer to rows of a table with this name.
pub(super) fn reference_ends(table: &[String]) -> Vec<String> {
    let mut ends = Vec::new();
    for (noun, _) in nouns(table) {
        ends.extend(REFERS.iter().map(|refers| format!("{noun}{refers}")));
        ends.push(noun);
    }
    ends
}

/// How a column speaks of the rows of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refers {
    /// `session_id`, `last_session_key`
    ById,
    /// `session`: a reference only if it has the type of a key.
    ByNoun,
}

/// Whether and how the name of a column speaks of the rows of a table: by its whole name, or by its
/// last word (`true`).
pub(super) fn refers(column: &str, table: &[String]) -> Option<(Refers, bool)> {
    let words = words(column);
    // The last words of the column's name, run together.
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
    fn a_name_has_the_same_words_however_it_is_written() {
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
    fn a_plural_is_its_noun() {
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
    fn a_column_refers_to_the_table_that_it_names() {
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
