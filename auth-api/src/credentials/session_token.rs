use std::fmt;

use schema::ids::{SessionId, TokenHash};
use schema::issued::Issued;
use secrecy::zeroize::Zeroizing;

use super::same_hash::same_hash;
use super::seal::{seal, unseal};
use super::secrets::{Purpose, Secrets, TAG_LENGTH};
use super::tagged::{Forged, Kind, SECRET_LENGTH, Tagged, random_secret};

const KIND: Kind = Kind { prefix: "ses_", purpose: Purpose::SessionToken };
/// The length of the head, the first part of a token, which is the session id.
const HEAD_LENGTH: usize = 16;
/// The length of a token: the head, a secret of 32 bytes, and a tag of 16 bytes.
const LENGTH: usize = HEAD_LENGTH + SECRET_LENGTH + TAG_LENGTH;

/// The token in a session cookie: `ses_` + base64url(session id ‖ secret ‖ tag).
///
/// A parsed token is *authentic*: the tag is a keyed BLAKE3 hash of the bytes before it, so the
/// token was made with `AUTH_SECRET`. Only the database shows whether the token is the current
/// token of its session, and whether the session is live.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionToken(Tagged<LENGTH>);

impl SessionToken {
    /// Generates a token for a session.
    pub fn generate(secrets: &Secrets, session_id: SessionId) -> Result<Self, getrandom::Error> {
        Ok(Self(Tagged::new(&KIND, secrets, session_id, &[], &random_secret()?)))
    }

    /// Parses a token and verifies its tag. Returns [`Forged`] if the token was not made with one
    /// of `secrets`.
    pub fn parse(text: &str, secrets: &Secrets) -> Result<Self, Forged> {
        Tagged::parse(&KIND, text, secrets).map(Self)
    }

    /// Returns the token as the client receives it.
    #[must_use]
    pub fn expose(&self) -> Zeroizing<String> {
        self.0.expose(&KIND)
    }

    /// Returns the session that the token belongs to.
    #[must_use]
    pub fn session_id(&self) -> SessionId {
        self.0.session_id()
    }

    /// Encrypts `successor` so that it can be decrypted only with this token and `AUTH_SECRET`.
    pub fn seal(&self, successor: &Self, secrets: &Secrets) -> Result<Vec<u8>, getrandom::Error> {
        let (head, rest) = successor.0.bytes().split_at(HEAD_LENGTH);
        seal(self.secret(), head, rest, secrets)
    }

    /// Decrypts a successor that was [sealed](Self::seal) with this token. Returns `None` if
    /// `sealed` cannot be decrypted with this token and one of `secrets`.
    #[must_use]
    pub fn unseal(&self, sealed: &[u8], secrets: &Secrets) -> Option<Self> {
        let head = &self.0.bytes()[..HEAD_LENGTH];
        Tagged::reassemble(head, &unseal(self.secret(), head, sealed, secrets)?).map(Self)
    }

    fn secret(&self) -> &[u8] {
        &self.0.untagged()[HEAD_LENGTH..]
    }

    /// Returns the hash that is stored: BLAKE3 of the whole token as the client holds it.
    #[must_use]
    pub fn hash(&self) -> TokenHash {
        self.0.hash(&KIND)
    }

    /// Returns whether this is the current or the previous token of its session. The tag alone does
    /// not prove this, because anyone with `AUTH_SECRET` can make other tokens with a valid tag.
    #[must_use]
    pub fn is_among(&self, issued: &Issued) -> bool {
        let hash = self.hash();
        let known = [issued.cookie_hash, issued.previous_cookie_hash].into_iter().flatten();
        known.fold(false, |known, stored| known | same_hash(stored, hash))
    }
}

impl fmt::Debug for SessionToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionToken({})", self.session_id())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use proptest::prelude::*;
    use testkit::AuthApi;

    fn secrets() -> Secrets {
        Secrets::parse(AuthApi::SECRET).unwrap()
    }

    #[test]
    fn a_token_contains_its_session_and_needs_its_secret() {
        let id = SessionId::generate();
        let token = SessionToken::generate(&secrets(), id).unwrap();
        let text = token.expose();
        assert_eq!(text.len(), 4 + 86);
        let parsed = SessionToken::parse(&text, &secrets()).unwrap();
        assert_eq!((parsed.session_id(), parsed.hash()), (id, token.hash()));
        assert_eq!(
            SessionToken::parse(&text, &Secrets::parse(AuthApi::OTHER_SECRET).unwrap()),
            Err(Forged)
        );
        let both = format!("{},{}", AuthApi::OTHER_SECRET, AuthApi::SECRET);
        assert_eq!(SessionToken::parse(&text, &Secrets::parse(&both).unwrap()), Ok(token));
    }

    #[test]
    fn only_the_predecessor_opens_a_sealed_successor() {
        let id = SessionId::generate();
        let [predecessor, successor, other] =
            [(); 3].map(|()| SessionToken::generate(&secrets(), id).unwrap());
        let sealed = predecessor.seal(&successor, &secrets()).unwrap();
        assert_eq!(predecessor.unseal(&sealed, &secrets()), Some(successor));
        assert_eq!(other.unseal(&sealed, &secrets()), None);
        assert_eq!(
            predecessor.unseal(&sealed, &Secrets::parse(AuthApi::OTHER_SECRET).unwrap()),
            None
        );
        assert_eq!(predecessor.unseal(&sealed[..30], &secrets()), None);
    }

    #[test]
    fn a_tag_for_another_purpose_is_rejected() {
        let mut bytes = [7; LENGTH];
        let (untagged, tag) = bytes.split_at_mut(LENGTH - TAG_LENGTH);
        tag.copy_from_slice(&secrets().tag(Purpose::RefreshToken, &[untagged]));
        let text = format!("{}{}", KIND.prefix, URL_SAFE_NO_PAD.encode(bytes));
        assert_eq!(SessionToken::parse(&text, &secrets()), Err(Forged));
    }

    proptest! {
        #[test]
        fn a_token_altered_anywhere_is_forged(at in 0usize..90, to in "[A-Za-z0-9_-]") {
            let text = SessionToken::generate(&secrets(), SessionId::generate()).unwrap().expose().to_string();
            let mut altered = text.clone();
            altered.replace_range(at..=at, &to);
            prop_assume!(altered != text);
            prop_assert_eq!(SessionToken::parse(&altered, &secrets()), Err(Forged));
        }

        #[test]
        fn nothing_else_is_a_token(text in ".{0,200}") {
            prop_assert_eq!(SessionToken::parse(&text, &secrets()), Err(Forged));
        }
    }
}
