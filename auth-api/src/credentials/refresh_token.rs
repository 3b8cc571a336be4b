use std::fmt;

use schema::ids::{SessionId, TokenHash};
use secrecy::zeroize::Zeroizing;

use super::seal::{seal, unseal};
use super::secrets::{Purpose, Secrets, TAG_LENGTH};
use super::tagged::{Forged, Kind, Tagged};

const KIND: Kind = Kind { prefix: "rt_", purpose: Purpose::RefreshToken };
/// Session id 16, generation 4 (big endian).
const HEAD_LENGTH: usize = 16 + 4;
/// The head, secret 32, tag 16.
const LENGTH: usize = HEAD_LENGTH + 32 + TAG_LENGTH;

/// A refresh token: `rt_` + base64url(session id ‖ generation ‖ secret ‖ tag).
///
/// One that was parsed is *genuine*: the tag is a keyed blake3 over what precedes it, so we made it. Whether it is the
/// current one, the database says.
#[derive(Clone, PartialEq, Eq)]
pub struct RefreshToken(Tagged<LENGTH>);

impl RefreshToken {
    /// A fresh token.
    pub fn generate(secrets: &Secrets, session_id: SessionId, generation: u32) -> Result<Self, getrandom::Error> {
        Tagged::generate(&KIND, secrets, session_id, &generation.to_be_bytes()).map(Self)
    }

    /// Parses a token and checks that we made it.
    pub fn parse(text: &str, secrets: &Secrets) -> Result<Self, Forged> {
        Tagged::parse(&KIND, text, secrets).map(Self)
    }

    /// What the client is given.
    #[must_use]
    pub fn expose(&self) -> Zeroizing<String> {
        self.0.expose(&KIND)
    }

    /// The session that it belongs to.
    #[must_use]
    pub fn session_id(&self) -> SessionId {
        self.0.session_id()
    }

    /// How many rotations came before it.
    #[must_use]
    pub fn generation(&self) -> u32 {
        let mut generation = [0; 4];
        generation.copy_from_slice(&self.0.bytes()[16..HEAD_LENGTH]);
        u32::from_be_bytes(generation)
    }

    /// What is stored of it: blake3 of the whole token as the client holds it.
    #[must_use]
    pub fn hash(&self) -> TokenHash {
        self.0.hash(&KIND)
    }

    /// Seals `successor` for whoever has this token and `AUTH_SECRET`.
    pub fn seal(&self, successor: &Self, secrets: &Secrets) -> Result<Vec<u8>, getrandom::Error> {
        let (head, rest) = successor.0.bytes().split_at(HEAD_LENGTH);
        seal(self.secret(), head, rest, secrets)
    }

    /// Opens what [`seal`](Self::seal) made of this token's successor. `None`: it is not that.
    #[must_use]
    pub fn unseal(&self, sealed: &[u8], secrets: &Secrets) -> Option<Self> {
        let mut head = [0; HEAD_LENGTH];
        head[..16].copy_from_slice(&self.0.bytes()[..16]);
        head[16..].copy_from_slice(&self.generation().checked_add(1)?.to_be_bytes());
        Tagged::reassemble(&head, &unseal(self.secret(), &head, sealed, secrets)?).map(Self)
    }

    fn secret(&self) -> &[u8] {
        &self.0.untagged()[HEAD_LENGTH..]
    }
}

impl fmt::Debug for RefreshToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RefreshToken({}, generation {})", self.session_id(), self.generation())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use testkit::AuthApi;

    fn secrets() -> Secrets {
        Secrets::parse(AuthApi::SECRET).unwrap()
    }

    #[test]
    fn a_token_says_whose_it_is_and_no_other_secret_accepts_it() {
        let id = SessionId::generate();
        let token = RefreshToken::generate(&secrets(), id, 7).unwrap();
        let text = token.expose();
        let parsed = RefreshToken::parse(&text, &secrets()).unwrap();
        assert_eq!((parsed.session_id(), parsed.generation(), parsed.hash()), (id, 7, token.hash()));
        assert_eq!(RefreshToken::parse(&text, &Secrets::parse(AuthApi::OTHER_SECRET).unwrap()), Err(Forged));
        let both = format!("{},{}", AuthApi::OTHER_SECRET, AuthApi::SECRET);
        assert_eq!(RefreshToken::parse(&text, &Secrets::parse(&both).unwrap()), Ok(token));
    }

    #[test]
    fn only_the_predecessor_opens_a_sealed_successor() {
        let id = SessionId::generate();
        let predecessor = RefreshToken::generate(&secrets(), id, 1).unwrap();
        let successor = RefreshToken::generate(&secrets(), id, 2).unwrap();
        let sealed = predecessor.seal(&successor, &secrets()).unwrap();
        assert_eq!(predecessor.unseal(&sealed, &secrets()), Some(successor));
        for other in [
            RefreshToken::generate(&secrets(), id, 1).unwrap(),
            RefreshToken::generate(&secrets(), SessionId::generate(), 1).unwrap(),
        ] {
            assert_eq!(other.unseal(&sealed, &secrets()), None);
        }
        assert_eq!(predecessor.unseal(&sealed[..30], &secrets()), None);
        assert_eq!(predecessor.unseal(&[], &secrets()), None);
    }

    #[test]
    fn a_sealed_successor_opens_by_any_secret_in_force_and_no_other() {
        let id = SessionId::generate();
        let (old, new) = (secrets(), Secrets::parse(AuthApi::OTHER_SECRET).unwrap());
        let predecessor = RefreshToken::generate(&old, id, 1).unwrap();
        let successor = RefreshToken::generate(&new, id, 2).unwrap();
        let sealed = predecessor.seal(&successor, &new).unwrap();
        assert_eq!(predecessor.unseal(&sealed, &old), None, "the predecessor alone opens it");
        let both = Secrets::parse(&format!("{},{}", AuthApi::SECRET, AuthApi::OTHER_SECRET)).unwrap();
        assert_eq!(predecessor.unseal(&sealed, &both), Some(successor));
    }

    proptest! {
        #[test]
        fn a_token_altered_anywhere_is_forged(at in 0usize..94, to in "[A-Za-z0-9_-]") {
            let text = RefreshToken::generate(&secrets(), SessionId::generate(), 3).unwrap().expose().to_string();
            let mut altered = text.clone();
            altered.replace_range(at..=at, &to);
            prop_assume!(altered != text);
            prop_assert_eq!(RefreshToken::parse(&altered, &secrets()), Err(Forged));
        }

        #[test]
        fn nothing_else_is_a_token(text in ".{0,200}") {
            prop_assert_eq!(RefreshToken::parse(&text, &secrets()), Err(Forged));
        }
    }
}
