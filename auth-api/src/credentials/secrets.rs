use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::zeroize::Zeroizing;
use subtle::ConstantTimeEq as _;

/// The keys that are derived from one of the secrets in `AUTH_SECRET`, one key for each purpose.
/// Each key is derived with BLAKE3 `derive_key` and a different context. Therefore, a tag (a keyed
/// hash) for one purpose is never valid for another.
struct Derived {
    refresh_tag: Zeroizing<[u8; 32]>,
    challenge_mac: Zeroizing<[u8; 32]>,
    session_tag: Zeroizing<[u8; 32]>,
    seal: Zeroizing<[u8; 32]>,
}

/// The secrets in `AUTH_SECRET`. New credentials are made with the first secret. Credentials are
/// verified with all secrets. Clones share the secrets that are in use.
#[derive(Clone)]
pub struct Secrets(Arc<ArcSwap<Vec<Derived>>>);

/// The purpose of a tag (a keyed hash that shows that this service made a credential).
#[derive(Clone, Copy, Debug)]
pub(crate) enum Purpose {
    /// The last part of a refresh token.
    RefreshToken,
    /// The second half of a challenge's nonce.
    Challenge,
    /// The last part of a session token, which is sent in a cookie.
    SessionToken,
}

/// Why `AUTH_SECRET` is not usable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretsError {
    /// One of the secrets is malformed.
    #[error("secret {0} is not 32 bytes in base64; `auth-api keys secret` generates a valid one")]
    Malformed(usize),
    /// The secret is not random: it is a placeholder, or was generated incorrectly.
    #[error("secret {0} repeats a single byte; `auth-api keys secret` generates a valid one")]
    Constant(usize),
    /// The same secret is listed twice, which is probably an error in a rotation.
    #[error("secret {0} is listed twice")]
    Repeated(usize),
}

/// A key with which the successor of a refresh token or a session token is encrypted.
pub(crate) type SealKey = Zeroizing<[u8; 32]>;

const SEAL_CONTEXT: &str =
    "session-reaper auth-api 2026-11 successor sealed by predecessor and AUTH_SECRET";

/// The length of a tag in bytes. With 128 bits, a forger needs 2^127 requests on average.
pub(crate) const TAG_LENGTH: usize = 16;

impl Secrets {
    /// Parses comma-separated secrets of 32 bytes each, in base64.
    pub fn parse(text: &str) -> Result<Self, SecretsError> {
        let mut seen = Vec::new();
        let mut keys = Vec::new();
        for (index, part) in text.split(',').enumerate() {
            let decoded = STANDARD.decode(part.trim()).map(Zeroizing::new);
            let secret: Zeroizing<[u8; 32]> = decoded
                .ok()
                .and_then(|bytes| <[u8; 32]>::try_from(bytes.as_slice()).ok())
                .map(Zeroizing::new)
                .ok_or(SecretsError::Malformed(index + 1))?;
            if secret.iter().all(|byte| *byte == secret[0]) {
                return Err(SecretsError::Constant(index + 1));
            }
            if seen.contains(&secret) {
                return Err(SecretsError::Repeated(index + 1));
            }
            let derive =
                |context: &str| Zeroizing::new(blake3::derive_key(context, secret.as_ref()));
            keys.push(Derived {
                refresh_tag: derive("session-reaper auth-api 2026-11 refresh token tag"),
                challenge_mac: derive("session-reaper auth-api 2026-11 challenge nonce"),
                session_tag: derive("session-reaper auth-api 2026-11 session token tag"),
                seal: derive("session-reaper auth-api 2026-11 seal of a successor"),
            });
            seen.push(secret);
        }
        Ok(Self(Arc::new(ArcSwap::from_pointee(keys))))
    }

    /// Replaces the secrets in all clones. Operations in progress finish with the secrets that they
    /// started with.
    pub fn replace_by(&self, others: &Self) {
        self.0.store(others.0.load_full());
    }

    /// Returns whether any of these secrets is also among `others`.
    #[must_use]
    pub fn share_any_with(&self, others: &Self) -> bool {
        let (ours, theirs) = (self.0.load(), others.0.load());
        let same = |one: &Derived, other: &Derived| {
            bool::from(one.refresh_tag.ct_eq(other.refresh_tag.as_slice()))
        };
        ours.iter().any(|one| theirs.iter().any(|other| same(one, other)))
    }

    /// Returns the number of secrets.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.load().len()
    }

    /// Returns a tag over the concatenation of `parts`, made with the first secret.
    pub(crate) fn tag(&self, purpose: Purpose, parts: &[&[u8]]) -> [u8; TAG_LENGTH] {
        tag(&self.0.load()[0], purpose, parts)
    }

    /// Returns whether `candidate` is a tag over `parts` that was made with any of the secrets. The
    /// comparison takes constant time for each secret.
    pub(crate) fn verify(
        &self,
        purpose: Purpose,
        parts: &[&[u8]],
        candidate: &[u8; TAG_LENGTH],
    ) -> bool {
        self.0.load().iter().any(|derived| tag(derived, purpose, parts).ct_eq(candidate).into())
    }

    /// Derives, from the first secret, the key that encrypts a successor for the holder of
    /// `predecessor`.
    pub(crate) fn sealing_key(&self, predecessor: &[u8]) -> SealKey {
        seal_key(&self.0.load()[0], predecessor)
    }

    /// Derives, from each secret, the key that decrypts a successor if the successor was encrypted
    /// with this secret for the holder of `predecessor`.
    pub(crate) fn opening_keys(&self, predecessor: &[u8]) -> Vec<SealKey> {
        self.0.load().iter().map(|derived| seal_key(derived, predecessor)).collect()
    }
}

/// Derives the key from `AUTH_SECRET` and the secret of the predecessor, so that both are required
/// to open a sealed successor. Both have a fixed length.
fn seal_key(derived: &Derived, predecessor: &[u8]) -> SealKey {
    let mut hasher = blake3::Hasher::new_derive_key(SEAL_CONTEXT);
    hasher.update(derived.seal.as_slice()).update(predecessor);
    Zeroizing::new(*hasher.finalize().as_bytes())
}

fn tag(derived: &Derived, purpose: Purpose, parts: &[&[u8]]) -> [u8; TAG_LENGTH] {
    let key = match purpose {
        Purpose::RefreshToken => &derived.refresh_tag,
        Purpose::Challenge => &derived.challenge_mac,
        Purpose::SessionToken => &derived.session_tag,
    };
    let mut hasher = blake3::Hasher::new_keyed(key);
    for part in parts {
        hasher.update(part);
    }
    let mut tag = [0; TAG_LENGTH];
    hasher.finalize_xof().fill(&mut tag);
    tag
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secrets({})", self.count())
    }
}
