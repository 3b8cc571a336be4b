use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use schema::ids::{SessionId, TokenHash};
use secrecy::zeroize::Zeroizing;
use uuid::Uuid;

use super::secrets::{Purpose, Secrets, TAG_LENGTH};

/// What a refresh token and a session token have in common: a session's id, more, a secret, and a
/// keyed blake3 over what precedes it; as text a prefix and base64url.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Tagged<const LENGTH: usize>(Zeroizing<[u8; LENGTH]>);

/// What tells one kind from another.
pub(super) struct Kind {
    pub(super) prefix: &'static str,
    pub(super) purpose: Purpose,
}

/// Not a token that we made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a token of ours")]
pub struct Forged;

const ID_LENGTH: usize = 16;
pub(super) const SECRET_LENGTH: usize = 32;

/// What nobody can guess of a credential.
pub(super) type Secret = Zeroizing<[u8; SECRET_LENGTH]>;

/// A secret that is random throughout.
pub(super) fn random_secret() -> Result<Secret, getrandom::Error> {
    let mut secret = Zeroizing::new([0; SECRET_LENGTH]);
    getrandom::fill(secret.as_mut_slice())?;
    Ok(secret)
}

impl<const LENGTH: usize> Tagged<LENGTH> {
    const TAG_AT: usize = LENGTH - TAG_LENGTH;

    /// A fresh one: the session's id, `more`, the secret, and the tag.
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

    /// Parses one and checks that we made it.
    pub(super) fn parse(kind: &Kind, text: &str, secrets: &Secrets) -> Result<Self, Forged> {
        let encoded = text.strip_prefix(kind.prefix).ok_or(Forged)?;
        let mut bytes = Zeroizing::new([0; LENGTH]);
        let length =
            URL_SAFE_NO_PAD.decode_slice(encoded, bytes.as_mut_slice()).map_err(|_| Forged)?;
        let tag = bytes[Self::TAG_AT..].try_into().map_err(|_| Forged)?;
        let genuine =
            length == LENGTH && secrets.verify(kind.purpose, &[&bytes[..Self::TAG_AT]], &tag);
        if genuine { Ok(Self(bytes)) } else { Err(Forged) }
    }

    /// One whose bytes come from where nobody else could have put them. `None`: they are too few or
    /// too many.
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

    /// Everything but the tag.
    pub(super) fn untagged(&self) -> &[u8] {
        &self.0[..Self::TAG_AT]
    }

    pub(super) fn session_id(&self) -> SessionId {
        let mut id = [0; ID_LENGTH];
        id.copy_from_slice(&self.0[..ID_LENGTH]);
        SessionId(Uuid::from_bytes(id))
    }

    /// As the client holds it.
    pub(super) fn expose(&self, kind: &Kind) -> Zeroizing<String> {
        Zeroizing::new(format!("{}{}", kind.prefix, URL_SAFE_NO_PAD.encode(self.0.as_slice())))
    }

    /// What is stored of it: blake3 of the whole token as the client holds it.
    pub(super) fn hash(&self, kind: &Kind) -> TokenHash {
        TokenHash(*blake3::hash(self.expose(kind).as_bytes()).as_bytes())
    }
}
