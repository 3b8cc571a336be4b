//! Finds the existing name that is most similar to a misspelled one.

/// The minimum similarity between a misspelled name and an existing one, from 0 to 1.
const ALIKE: f64 = 0.6;

/// Returns the value that belongs to the name most similar to `wanted`. Returns `None` if no name
/// is similar enough. Case is ignored.
#[must_use]
pub fn nearest<T, N: AsRef<str>>(
    wanted: &str,
    names: impl IntoIterator<Item = (N, T)>,
) -> Option<T> {
    let wanted = wanted.to_lowercase();
    let alike = |name: &str| {
        let name = name.to_lowercase();
        // Jaro-Winkler favors a common prefix; Damerau-Levenshtein recognizes two swapped letters
        // of a short name.
        strsim::jaro_winkler(&wanted, &name)
            .max(strsim::normalized_damerau_levenshtein(&wanted, &name))
    };
    names
        .into_iter()
        .map(|(name, it)| (alike(name.as_ref()), it))
        .filter(|(alike, _)| *alike >= ALIKE)
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(_, it)| it)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_similar_names_are_found() {
        let near =
            |wanted| nearest(wanted, ["due", "expires_at", "revoked_at"].map(|name| (name, name)));
        let found = ["deu", "expire_at", "EXPIRES", "revokd", "fam", "q"].map(near);
        assert_eq!(
            found,
            [Some("due"), Some("expires_at"), Some("expires_at"), Some("revoked_at"), None, None]
        );
    }
}
