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
/// Session id 16, generation 4 (big endian).
const HEAD_LENGTH: usize = 16 + 4;
/// The head, secret 32, tag 16.
const LENGTH: usize = HEAD_LENGTH + SECRET_LENGTH + TAG_LENGTH;
/// The second half of the secret, in a family that has a key.
const PROOF_AT: usize = HEAD_LENGTH + RANDOM_LENGTH;

/// A refresh token: `rt_` + base64url(session id ‖ generation ‖ secret ‖ tag).
///
/// One that was parsed is *genuine*: the tag is a keyed blake3 over what precedes it, so we made
/// it, or somebody who has `AUTH_SECRET`. The secret is 16 random bytes and their proof under the
/// key of the family, so only the database and we can make one that the family
/// [issued](Self::is_among). Whether it is the current one, the database says, too.
#[derive(Clone, PartialEq, Eq)]
pub struct RefreshToken(Tagged<LENGTH>);

impl RefreshToken {
    /// A fresh token of a family with this key. Without one, its secret is random throughout, as in
    /// families that began before there were keys.
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

    /// Whether its family issued it: it is the current one or the one before, or it was made with
    /// the family's key. In a family without a key every genuine token counts.
    #[must_use]
    pub fn is_among(&self, issued: &IssuedTokens) -> bool {
        let hash = self.hash();
        let known = [Some(issued.token_hash), issued.previous_hash].into_iter().flatten();
        let known = known.fold(false, |known, stored| known | same_hash(stored, hash));
        known || issued.key.as_ref().is_none_or(|key| self.is_made_with(key))
    }

    /// Whether it was made with this key of its family.
    #[must_use]
    pub fn is_made_with(&self, key: &FamilyKey) -> bool {
        let (mut random, mut proof) = ([0; RANDOM_LENGTH], [0; PROOF_LENGTH]);
        random.copy_from_slice(&self.0.bytes()[HEAD_LENGTH..PROOF_AT]);
        proof.copy_from_slice(&self.0.bytes()[PROOF_AT..PROOF_AT + PROOF_LENGTH]);
        prove(key, self.session_id(), self.generation(), &random).ct_eq(&proof).into()
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
        assert_eq!(old.expose().len(), made(&secrets(), id, 3).expose().len(), "the form stays");
        assert!(old.is_among(&family));
        // AUTH_SECRET alone, another family's key, another generation's or session's proof.
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
    fn without_a_proof_the_current_token_and_the_one_before_are_issued() {
        let (id, key) = (SessionId::generate(), fresh_family_key().unwrap());
        let [older, before, current] = [0, 1, 2].map(|generation| made(&secrets(), id, generation));
        let family =
            IssuedTokens { previous_hash: Some(before.hash()), ..issued(&current, Some(key)) };
        assert_eq!(
            [&older, &before, &current].map(|token| token.is_among(&family)),
            [false, true, true]
        );
        assert!(older.is_among(&IssuedTokens { key: None, ..family }), "a family without a key");
    }

    #[test]
    fn a_token_says_whose_it_is_and_no_other_secret_accepts_it() {
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
    fn a_sealed_successor_opens_by_any_secret_in_force_and_no_other() {
        let id = SessionId::generate();
        let (old, new) = (secrets(), Secrets::parse(AuthApi::OTHER_SECRET).unwrap());
        let predecessor = made(&old, id, 1);
        let successor = made(&new, id, 2);
        let sealed = predecessor.seal(&successor, &new).unwrap();
        assert_eq!(predecessor.unseal(&sealed, &old), None, "the predecessor alone opens it");
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
