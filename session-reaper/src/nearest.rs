//! What somebody may have meant who misspelt a name.

/// Less alike than this is not a slip of the pen.
const ALIKE: f64 = 0.6;

/// What belongs to the likeliest of the names, when one is like `wanted` at all; capitals do not
/// count.
#[must_use]
pub fn nearest<T, N: AsRef<str>>(
    wanted: &str,
    names: impl IntoIterator<Item = (N, T)>,
) -> Option<T> {
    let wanted = wanted.to_lowercase();
    let alike = |name: &str| {
        let name = name.to_lowercase();
        // The first knows a common beginning, the second two letters of a short name in the wrong
        // order.
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
    fn a_slip_of_the_pen_is_understood_and_nothing_else() {
        let near =
            |wanted| nearest(wanted, ["due", "expires_at", "revoked_at"].map(|name| (name, name)));
        let told = ["deu", "expire_at", "EXPIRES", "revokd", "fam", "q"].map(near);
        assert_eq!(
            told,
            [Some("due"), Some("expires_at"), Some("expires_at"), Some("revoked_at"), None, None]
        );
    }
}
