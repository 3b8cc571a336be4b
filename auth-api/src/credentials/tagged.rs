use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use schema::ids::{SessionId, TokenHash};
use secrecy::zeroize::Zeroizing;
use uuid::Uuid;

use super::secrets::{Purpose, Secrets, TAG_LENGTH};

/// The common format of refresh tokens and session tokens: a session's id, further fields, a
/// secret, and a tag, which is a keyed BLAKE3 hash of the bytes before it. As text, a token is a
/// prefix followed by all these bytes in base64url.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Tagged<const LENGTH: usize>(Zeroizing<[u8; LENGTH]>);

/// The properties that distinguish one kind of token from another.
pub(super) struct Kind {
    pub(super) prefix: &'static str,
    pub(super) purpose: Purpose,
}

/// The text is not a token that this service issued.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a token of this service")]
pub struct Forged;

const ID_LENGTH: usize = 16;
pub(super) const SECRET_LENGTH: usize = 32;

/// The unpredictable part of a credential.
pub(super) type Secret = Zeroizing<[u8; SECRET_LENGTH]>;

/// Generates a secret of random bytes.
pub(super) fn random_secret() -> Result<Secret, getrandom::Error> {
    let mut secret = Zeroizing::new([0; SECRET_LENGTH]);
    getrandom::fill(secret.as_mut_slice())?;
    Ok(secret)
}

impl<const LENGTH: usize> Tagged<LENGTH> {
    const TAG_AT: usize = LENGTH - TAG_LENGTH;

    /// Creates a token from the session's id, `more` and the secret, followed by a tag over these
    /// three fields.
    pub(super) fn new(
        kind: &Kind,
        secrets: &Secrets,
        session_id: SessionId,
        more: &[u8],
        secret: &Secret,
    ) -> Self {
        let mut bytes = Zeroizing::new([0; LENGTH]);
        bytes[..ID_LENGTH].copy_from_slice(session_id.0.as_bytes());
        let secret_at = ID_LENGTH + more.len();
        bytes[ID_LENGTH..secret_at].copy_from_slice(more);
        bytes[secret_at..Self::TAG_AT].copy_from_slice(secret.as_slice());
        let tag = secrets.tag(kind.purpose, &[&bytes[..Self::TAG_AT]]);
        bytes[Self::TAG_AT..].copy_from_slice(&tag);
        Self(bytes)
    }

    /// Parses a token and verifies its tag.
    pub(super) fn parse(kind: &Kind, text: &str, secrets: &Secrets) -> Result<Self, Forged> {
        let encoded = text.strip_prefix(kind.prefix).ok_or(Forged)?;
        let mut bytes = Zeroizing::new([0; LENGTH]);
        let length =
            URL_SAFE_NO_PAD.decode_slice(encoded, bytes.as_mut_slice()).map_err(|_| Forged)?;
        let tag = bytes[Self::TAG_AT..].try_into().map_err(|_| Forged)?;
        let authentic =
            length == LENGTH && secrets.verify(kind.purpose, &[&bytes[..Self::TAG_AT]], &tag);
        if authentic { Ok(Self(bytes)) } else { Err(Forged) }
    }

    /// Creates a token from bytes whose authenticity was already verified. Returns `None` if there
    /// are too few or too many bytes.
    pub(super) fn reassemble(head: &[u8], rest: &[u8]) -> Option<Self> {
        if head.len() + rest.len() != LENGTH {
            return None;
        }
        let mut bytes = Zeroizing::new([0; LENGTH]);
        bytes[..head.len()].copy_from_slice(head);
        bytes[head.len()..].copy_from_slice(rest);
        Some(Self(bytes))
    }

    pub(super) fn bytes(&self) -> &[u8; LENGTH] {
        &self.0
    }

    /// Returns everything except the tag.
    pub(super) fn untagged(&self) -> &[u8] {
        &self.0[..Self::TAG_AT]
    }

    pub(super) fn session_id(&self) -> SessionId {
        let mut id = [0; ID_LENGTH];
        id.copy_from_slice(&self.0[..ID_LENGTH]);
        SessionId(Uuid::from_bytes(id))
    }

    /// Returns the token as the client holds it.
    pub(super) fn expose(&self, kind: &Kind) -> Zeroizing<String> {
        Zeroizing::new(format!("{}{}", kind.prefix, URL_SAFE_NO_PAD.encode(self.0.as_slice())))
    }

    /// Returns the hash that is stored: BLAKE3 of the whole token as the client holds it.
    pub(super) fn hash(&self, kind: &Kind) -> TokenHash {
        TokenHash(*blake3::hash(self.expose(kind).as_bytes()).as_bytes())
    }
}
