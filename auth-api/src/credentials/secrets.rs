use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::zeroize::Zeroizing;
use subtle::ConstantTimeEq as _;

/// The keys derived from one `AUTH_SECRET`, each for one purpose (blake3 `derive_key`, one context
/// each), so that a tag of one kind is never a tag of another.
struct Derived {
    refresh_tag: Zeroizing<[u8; 32]>,
    challenge_mac: Zeroizing<[u8; 32]>,
    session_tag: Zeroizing<[u8; 32]>,
    seal: Zeroizing<[u8; 32]>,
}

/// `AUTH_SECRET`: the first makes new credentials, all of them verify. Clones share what is in
/// force.
#[derive(Clone)]
pub struct Secrets(Arc<ArcSwap<Vec<Derived>>>);

/// What a tag is for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Purpose {
    /// The end of a refresh token.
    RefreshToken,
    /// The second half of a challenge's nonce.
    Challenge,
    /// The end of a session token, which a cookie carries.
    SessionToken,
}

/// Why `AUTH_SECRET` is not usable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretsError {
    /// A part of it is not what it must be.
    #[error("secret {0} is not 32 bytes as base64; `auth-api keys secret` prints a good one")]
    Malformed(usize),
    /// No randomness at all: a placeholder, or a mistake in making it.
    #[error("secret {0} is 32 times the same byte; `auth-api keys secret` prints a good one")]
    Constant(usize),
    /// The same one twice: surely a mistake in a rotation.
    #[error("secret {0} stands there twice")]
    Repeated(usize),
}

/// A key that seals the successor of a refresh token.
pub(crate) type SealKey = Zeroizing<[u8; 32]>;

const SEAL_CONTEXT: &str =
    "session-reaper auth-api 2026-11 successor sealed by predecessor and AUTH_SECRET";

/// 128 bits: a forger needs 2^127 requests on average.
pub(crate) const TAG_LENGTH: usize = 16;

impl Secrets {
    /// Parses comma-separated base64 of 32 bytes each.
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

    /// Puts other secrets into force, for all clones. What is under way ends with those that it
    /// began with.
    pub fn replace_by(&self, others: &Self) {
        self.0.store(others.0.load_full());
    }

    /// Whether any of these is among the others, too.
    #[must_use]
    pub fn share_any_with(&self, others: &Self) -> bool {
        let (ours, theirs) = (self.0.load(), others.0.load());
        let same = |one: &Derived, other: &Derived| {
            bool::from(one.refresh_tag.ct_eq(other.refresh_tag.as_slice()))
        };
        ours.iter().any(|one| theirs.iter().any(|other| same(one, other)))
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.load().len()
    }

    /// A tag over `parts`, one after the other, by the first secret.
    pub(crate) fn tag(&self, purpose: Purpose, parts: &[&[u8]]) -> [u8; TAG_LENGTH] {
        tag(&self.0.load()[0], purpose, parts)
    }

    /// Whether any of our secrets made `tag` over `parts`; in constant time for each secret.
    pub(crate) fn verify(
        &self,
        purpose: Purpose,
        parts: &[&[u8]],
        candidate: &[u8; TAG_LENGTH],
    ) -> bool {
        self.0.load().iter().any(|derived| tag(derived, purpose, parts).ct_eq(candidate).into())
    }

    /// The key that seals for whoever holds `predecessor`, by the first secret.
    pub(crate) fn sealing_key(&self, predecessor: &[u8]) -> SealKey {
        seal_key(&self.0.load()[0], predecessor)
    }

    /// The keys that may have sealed for whoever holds `predecessor`, one for each secret.
    pub(crate) fn opening_keys(&self, predecessor: &[u8]) -> Vec<SealKey> {
        self.0.load().iter().map(|derived| seal_key(derived, predecessor)).collect()
    }
}

/// Derives the key from both secrets, each of a fixed length: neither opens anything without the
/// other.
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
