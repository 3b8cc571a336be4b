//! Names taken apart into words, however their project writes them.

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
        let humps =
            letter.is_uppercase() && (before.is_lowercase() || letters.peek().is_some_and(|c| c.is_lowercase()));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_the_same_words_however_it_is_written() {
        for name in ["token_expires_at", "tokenExpiresAt", "TokenExpiresAt", "TOKEN_EXPIRES_AT", "token expires-at"] {
            assert_eq!(words(name), ["token", "expires", "at"], "{name}");
        }
        assert_eq!(words("JWTTokenID"), ["jwt", "token", "id"]);
        assert_eq!(words("_"), Vec::<String>::new());
        assert_eq!(run_together("Expires_At"), "expiresat");
    }

    #[test]
    fn a_plural_is_its_noun() {
        for (word, noun) in [("session", "session"), ("sessions", "session"), ("entries", "entry"), ("hashes", "hash")]
        {
            assert!(is_noun(word, noun), "{word}");
        }
        assert!(!is_noun("sessionless", "session") && !is_noun("cod", "code"));
    }
}
