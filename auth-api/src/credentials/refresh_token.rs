use std::fmt;

use schema::ids::{SessionId, TokenHash};
use schema::issued::{FamilyKey, IssuedTokens};
use secrecy::zeroize::Zeroizing;
use subtle::ConstantTimeEq as _;

use super::family_key::{PROOF_LENGTH, RANDOM_LENGTH, prove};
use super::same_hash::same_hash;
use super::seal::{seal, unseal};
use super::secrets::{Purpose, Secrets, TAG_LENGTH};
use super::tagged::{Forged, Kind, SECRET_LENGTH, Tagged, random_secret};

const KIND: Kind = Kind { prefix: "rt_", purpose: Purpose::RefreshToken };
/// The length of the head, the first part of a token: a session id of 16 bytes and a generation of
/// 4 bytes (big endian).
const HEAD_LENGTH: usize = 16 + 4;
/// The length of a token: the head, a secret of 32 bytes, and a tag of 16 bytes.
const LENGTH: usize = HEAD_LENGTH + SECRET_LENGTH + TAG_LENGTH;
/// The offset of the proof. In a family that has a key, the proof is the second half of the secret.
const PROOF_AT: usize = HEAD_LENGTH + RANDOM_LENGTH;

/// A refresh token: `rt_` + base64url(session id ‖ generation ‖ secret ‖ tag). All refresh tokens
/// of one session form its *family*. The *generation* is the number of rotations before the token.
///
/// A parsed token is *authentic*: the tag is a keyed BLAKE3 hash of the bytes before it, so the
/// token was made with `AUTH_SECRET`. In a family that has a key, the secret consists of 16 random
/// bytes and a proof, which is a hash over these bytes with the key of the family. A token that
/// counts as [issued](Self::is_among) by such a family can therefore be made only with this key,
/// which is stored in the database. Only the database shows whether the token is the current token
/// of its family.
#[derive(Clone, PartialEq, Eq)]
pub struct RefreshToken(Tagged<LENGTH>);

impl RefreshToken {
    /// Generates a token of the family that has this key. If there is no key, the whole secret is
    /// random. Families that began before family keys existed have no key.
    pub fn generate(
        secrets: &Secrets,
        key: Option<&FamilyKey>,
        session_id: SessionId,
        generation: u32,
    ) -> Result<Self, getrandom::Error> {
        let mut secret = random_secret()?;
        if let (Some(key), Some((random, proof))) =
            (key, secret.split_first_chunk_mut::<RANDOM_LENGTH>())
        {
            proof.copy_from_slice(&prove(key, session_id, generation, random));
        }
        Ok(Self(Tagged::new(&KIND, secrets, session_id, &generation.to_be_bytes(), &secret)))
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

    /// Returns the number of rotations before this token.
    #[must_use]
    pub fn generation(&self) -> u32 {
        let mut generation = [0; 4];
        generation.copy_from_slice(&self.0.bytes()[16..HEAD_LENGTH]);
        u32::from_be_bytes(generation)
    }

    /// Returns the hash that is stored: BLAKE3 of the whole token as the client holds it.
    #[must_use]
    pub fn hash(&self) -> TokenHash {
        self.0.hash(&KIND)
    }

    /// Returns whether the family issued this token. A token counts as issued if it is the current
    /// or the previous token, or if it was made with the key of the family. In a family without a
    /// key (one that began before family keys existed), every authentic token counts as issued.
    #[must_use]
    pub fn is_among(&self, issued: &IssuedTokens) -> bool {
        let hash = self.hash();
        let known = [Some(issued.token_hash), issued.previous_hash].into_iter().flatten();
        let known = known.fold(false, |known, stored| known | same_hash(stored, hash));
        known || issued.key.as_ref().is_none_or(|key| self.is_made_with(key))
    }

    /// Returns whether the token was made with `key`, which is the key of its family.
    #[must_use]
    pub fn is_made_with(&self, key: &FamilyKey) -> bool {
        let (mut random, mut proof) = ([0; RANDOM_LENGTH], [0; PROOF_LENGTH]);
        random.copy_from_slice(&self.0.bytes()[HEAD_LENGTH..PROOF_AT]);
        proof.copy_from_slice(&self.0.bytes()[PROOF_AT..PROOF_AT + PROOF_LENGTH]);
        prove(key, self.session_id(), self.generation(), &random).ct_eq(&proof).into()
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

    use crate::credentials::fresh_family_key;

    fn secrets() -> Secrets {
        Secrets::parse(AuthApi::SECRET).unwrap()
    }

    fn made(secrets: &Secrets, id: SessionId, generation: u32) -> RefreshToken {
        RefreshToken::generate(secrets, None, id, generation).unwrap()
    }

    fn issued(current: &RefreshToken, key: Option<FamilyKey>) -> IssuedTokens {
        IssuedTokens {
            generation: current.generation().into(),
            token_hash: current.hash(),
            previous_hash: None,
            key,
        }
    }

    #[test]
    fn a_token_made_with_the_key_of_its_family_is_issued() {
        let (id, key) = (SessionId::generate(), fresh_family_key().unwrap());
        let with_key = |id, generation| {
            RefreshToken::generate(&secrets(), Some(&key), id, generation).unwrap()
        };
        let family = issued(&with_key(id, 7), Some(key.clone()));
        let old = with_key(id, 3);
        assert_eq!(
            old.expose().len(),
            made(&secrets(), id, 3).expose().len(),
            "the length does not change"
        );
        assert!(old.is_among(&family));
        // Tokens made with AUTH_SECRET alone, with another family's key, or with the proof of
        // another generation or session do not count as issued.
        let other = fresh_family_key().unwrap();
        let moved = |from: &RefreshToken, id, generation: u32| {
            let mut secret = random_secret().unwrap();
            secret.copy_from_slice(from.secret());
            RefreshToken(Tagged::new(&KIND, &secrets(), id, &generation.to_be_bytes(), &secret))
        };
        for forged in [
            made(&secrets(), id, 3),
            RefreshToken::generate(&secrets(), Some(&other), id, 3).unwrap(),
            moved(&old, id, 2),
            moved(&old, SessionId::generate(), 3),
        ] {
            assert!(!forged.is_among(&family), "{forged:?}");
        }
    }

    #[test]
    fn current_and_previous_tokens_need_no_proof() {
        let (id, key) = (SessionId::generate(), fresh_family_key().unwrap());
        let [older, before, current] = [0, 1, 2].map(|generation| made(&secrets(), id, generation));
        let family =
            IssuedTokens { previous_hash: Some(before.hash()), ..issued(&current, Some(key)) };
        assert_eq!(
            [&older, &before, &current].map(|token| token.is_among(&family)),
            [false, true, true]
        );
        assert!(
            older.is_among(&IssuedTokens { key: None, ..family }),
            "a family without a key accepts any authentic token"
        );
    }

    #[test]
    fn a_token_contains_its_session_and_needs_its_secret() {
        let id = SessionId::generate();
        let token = made(&secrets(), id, 7);
        let text = token.expose();
        let parsed = RefreshToken::parse(&text, &secrets()).unwrap();
        assert_eq!(
            (parsed.session_id(), parsed.generation(), parsed.hash()),
            (id, 7, token.hash())
        );
        assert_eq!(
            RefreshToken::parse(&text, &Secrets::parse(AuthApi::OTHER_SECRET).unwrap()),
            Err(Forged)
        );
        let both = format!("{},{}", AuthApi::OTHER_SECRET, AuthApi::SECRET);
        assert_eq!(RefreshToken::parse(&text, &Secrets::parse(&both).unwrap()), Ok(token));
    }

    #[test]
    fn only_the_predecessor_opens_a_sealed_successor() {
        let id = SessionId::generate();
        let predecessor = made(&secrets(), id, 1);
        let successor = made(&secrets(), id, 2);
        let sealed = predecessor.seal(&successor, &secrets()).unwrap();
        assert_eq!(predecessor.unseal(&sealed, &secrets()), Some(successor));
        for other in [made(&secrets(), id, 1), made(&secrets(), SessionId::generate(), 1)] {
            assert_eq!(other.unseal(&sealed, &secrets()), None);
        }
        assert_eq!(predecessor.unseal(&sealed[..30], &secrets()), None);
        assert_eq!(predecessor.unseal(&[], &secrets()), None);
    }

    #[test]
    fn a_sealed_successor_opens_only_with_its_secret() {
        let id = SessionId::generate();
        let (old, new) = (secrets(), Secrets::parse(AuthApi::OTHER_SECRET).unwrap());
        let predecessor = made(&old, id, 1);
        let successor = made(&new, id, 2);
        let sealed = predecessor.seal(&successor, &new).unwrap();
        assert_eq!(
            predecessor.unseal(&sealed, &old),
            None,
            "the predecessor opened it without the secret that sealed it"
        );
        let both =
            Secrets::parse(&format!("{},{}", AuthApi::SECRET, AuthApi::OTHER_SECRET)).unwrap();
        assert_eq!(predecessor.unseal(&sealed, &both), Some(successor));
    }

    proptest! {
        #[test]
        fn a_token_altered_anywhere_is_forged(at in 0usize..94, to in "[A-Za-z0-9_-]") {
            let text = made(&secrets(), SessionId::generate(), 3).expose().to_string();
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
