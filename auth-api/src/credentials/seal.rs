use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use secrecy::zeroize::Zeroizing;

use super::secrets::{SealKey, Secrets};

const NONCE_LENGTH: usize = 24;

/// Seals (encrypts) a token for the holder of its predecessor. The sealed token can be opened only
/// with both the predecessor's secret and `AUTH_SECRET`. An attacker who has a used token and the
/// history of the database row (from WAL, a backup or a log) cannot open it, and neither can an
/// attacker who has `AUTH_SECRET` and the database.
///
/// The algorithm is XChaCha20-Poly1305 with a key derived from the predecessor's secret and the
/// first of `secrets`, and with the `head` of the sealed token as associated data. The result has
/// three parts: the nonce (24 bytes), the sealed rest, and the authenticator (16 bytes).
pub(super) fn seal(
    predecessor: &[u8],
    head: &[u8],
    rest: &[u8],
    secrets: &Secrets,
) -> Result<Vec<u8>, getrandom::Error> {
    let mut sealed = vec![0; NONCE_LENGTH];
    getrandom::fill(&mut sealed)?;
    let nonce = XNonce::try_from(sealed.as_slice()).map_err(|_| getrandom::Error::UNEXPECTED)?;
    let payload = Payload { msg: rest, aad: head };
    let body = cipher(&secrets.sealing_key(predecessor))
        .encrypt(&nonce, payload)
        .map_err(|_| getrandom::Error::UNEXPECTED)?;
    sealed.extend_from_slice(&body);
    Ok(sealed)
}

/// Opens (decrypts) a token that was sealed by [`seal`]. Tries all of `secrets`, because another
/// replica of auth-api may already seal tokens with a new secret. Returns `None` if no secret opens
/// `sealed`.
pub(super) fn unseal(
    predecessor: &[u8],
    head: &[u8],
    sealed: &[u8],
    secrets: &Secrets,
) -> Option<Zeroizing<Vec<u8>>> {
    let (nonce, body) = sealed.split_at_checked(NONCE_LENGTH)?;
    let nonce = XNonce::try_from(nonce).ok()?;
    let open = |key: &SealKey| cipher(key).decrypt(&nonce, Payload { msg: body, aad: head }).ok();
    secrets.opening_keys(predecessor).iter().find_map(open).map(Zeroizing::new)
}

fn cipher(key: &SealKey) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new((&**key).into())
}
