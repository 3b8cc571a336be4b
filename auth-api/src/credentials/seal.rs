use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use secrecy::zeroize::Zeroizing;

use super::secrets::{SealKey, Secrets};

const NONCE_LENGTH: usize = 24;

/// Seals a token for whoever has its predecessor, so that only the predecessor's secret and
/// `AUTH_SECRET` together open it. A used-up token with the history of the row (WAL, a backup, a
/// log) does not, and neither does `AUTH_SECRET` with the database.
///
/// XChaCha20-Poly1305 under a key derived from the predecessor's secret and the first of `secrets`,
/// with the token's `head` as associated data: `nonce 24 ‖ sealed rest ‖ authenticator 16`.
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

/// Opens what [`seal`] made, by any of `secrets`: a replica that was told of a new secret first may
/// have sealed it. `None`: it is not that.
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
