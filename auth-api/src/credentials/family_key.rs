use schema::ids::SessionId;
use schema::issued::FamilyKey;
use secrecy::zeroize::Zeroizing;

/// Random bytes of a refresh token's secret: as many follow that prove them.
pub(super) const RANDOM_LENGTH: usize = 16;
/// 128 bits, as the tag has.
pub(super) const PROOF_LENGTH: usize = 16;

/// A fresh key for the family of a session that begins.
pub fn fresh_family_key() -> Result<FamilyKey, getrandom::Error> {
    let mut bytes = Zeroizing::new([0; 32]);
    getrandom::fill(bytes.as_mut_slice())?;
    Ok(FamilyKey::new(bytes))
}

/// What proves that a token was made with the key of its family: keyed blake3 of session id ‖
/// generation ‖ random bytes, cut.
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
