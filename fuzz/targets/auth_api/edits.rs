//! Applies the edits that the fuzzer describes to a valid value.

/// Maximum number of edits. A value that differs much from a valid value would be rejected early,
/// and the later checks would not be tested.
const MOST: usize = 8;

/// Returns `original` with the edits that `script` describes. An edit has four bytes: the kind, the
/// position (two bytes), and the new value.
pub(super) fn edited(original: &[u8], script: &[u8]) -> Vec<u8> {
    let mut edited = original.to_vec();
    for step in script.chunks_exact(4).take(MOST) {
        let &[what, high, low, with] = step else { continue };
        let at = usize::from(u16::from_be_bytes([high, low])) % (edited.len() + 1);
        match (what % 6, edited.get(at).copied()) {
            (0, _) => edited.insert(at, with),
            (1, Some(_)) => edited[at] = with,
            (2, Some(byte)) => edited[at] = byte ^ (1 << (with % 8)),
            (3, Some(_)) => drop(edited.remove(at)),
            (4, Some(byte)) => edited.insert(at, byte),
            (5, Some(_)) => edited.truncate(at),
            _ => {}
        }
    }
    edited
}

/// Edits a text as [`edited`] does. Returns `None` if the result is not valid UTF-8 or is equal to
/// the original.
pub(super) fn edited_text(original: &str, script: &[u8]) -> Option<String> {
    let edited = String::from_utf8(edited(original.as_bytes(), script)).ok()?;
    (edited != original).then_some(edited)
}
