use schema::ids::SessionId;
use schema::issued::FamilyKey;
use secrecy::zeroize::Zeroizing;

/// The number of random bytes in the secret of a refresh token. They are followed by a proof of the
/// same length: a hash that shows that the token was made with the key of its family.
pub(super) const RANDOM_LENGTH: usize = 16;
/// The length of a proof in bytes. It is 128 bits, the same as the length of a token's tag.
pub(super) const PROOF_LENGTH: usize = 16;

/// Generates a key for the token family of a new session, which consists of all its refresh tokens.
pub fn fresh_family_key() -> Result<FamilyKey, getrandom::Error> {
    let mut bytes = Zeroizing::new([0; 32]);
    getrandom::fill(bytes.as_mut_slice())?;
    Ok(FamilyKey::new(bytes))
}

/// Returns the proof that a refresh token was made with the key of its family (all refresh tokens
/// of the session). The proof is a keyed BLAKE3 hash of session id ‖ generation ‖ random bytes,
/// truncated.
pub(super) fn prove(
    key: &FamilyKey,
    session_id: SessionId,
    generation: u32,
    random: &[u8; RANDOM_LENGTH],
) -> [u8; PROOF_LENGTH] {
    let mut hasher = blake3::Hasher::new_keyed(key.expose());
    hasher.update(session_id.0.as_bytes()).update(&generation.to_be_bytes()).update(random);
    let mut proof = [0; PROOF_LENGTH];
    hasher.finalize_xof().fill(&mut proof);
    proof
}
