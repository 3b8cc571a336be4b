use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use schema::ids::{SessionId, TokenHash};
use secrecy::zeroize::Zeroizing;
use uuid::Uuid;

use super::Forged;
use super::secrets::{Purpose, Secrets, TAG_LENGTH};

const PREFIX: &str = "ses_";
/// Session id 16, secret 32, tag 16.
const LENGTH: usize = 16 + 32 + TAG_LENGTH;
const TAG_AT: usize = LENGTH - TAG_LENGTH;

/// What a cookie carries: `ses_` + base64url(session id ‖ secret ‖ tag).
///
/// One that was parsed is *genuine*: the tag is a keyed blake3 over what precedes it, so we made it. Whether it is the one
/// of its session, and whether that stands, the database says.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionToken(Zeroizing<[u8; LENGTH]>);

impl SessionToken {
    /// A fresh token.
    pub fn generate(secrets: &Secrets, session_id: SessionId) -> Result<Self, getrandom::Error> {
        let mut bytes = Zeroizing::new([0; LENGTH]);
        bytes[..16].copy_from_slice(session_id.0.as_bytes());
        getrandom::fill(&mut bytes[16..TAG_AT])?;
        let tag = secrets.tag(Purpose::SessionToken, &[&bytes[..TAG_AT]]);
        bytes[TAG_AT..].copy_from_slice(&tag);
        Ok(Self(bytes))
    }

    /// Parses a token and checks that we made it.
    pub fn parse(text: &str, secrets: &Secrets) -> Result<Self, Forged> {
        let encoded = text.strip_prefix(PREFIX).ok_or(Forged)?;
        let mut bytes = Zeroizing::new([0; LENGTH]);
        let length = URL_SAFE_NO_PAD.decode_slice(encoded, bytes.as_mut_slice()).map_err(|_| Forged)?;
        let tag = bytes[TAG_AT..].try_into().map_err(|_| Forged)?;
        let genuine = length == LENGTH && secrets.verify(Purpose::SessionToken, &[&bytes[..TAG_AT]], &tag);
        if genuine { Ok(Self(bytes)) } else { Err(Forged) }
    }

    /// What the client is given.
    #[must_use]
    pub fn expose(&self) -> Zeroizing<String> {
        Zeroizing::new(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(self.0.as_slice())))
    }

    /// The session that it belongs to.
    #[must_use]
    pub fn session_id(&self) -> SessionId {
        let mut id = [0; 16];
        id.copy_from_slice(&self.0[..16]);
        SessionId(Uuid::from_bytes(id))
    }

    /// What is stored of it: blake3 of the whole token as the client holds it.
    #[must_use]
    pub fn hash(&self) -> TokenHash {
        TokenHash(*blake3::hash(self.expose().as_bytes()).as_bytes())
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
    use proptest::prelude::*;
    use testkit::AuthApi;

    fn secrets() -> Secrets {
        Secrets::parse(AuthApi::SECRET).unwrap()
    }

    #[test]
    fn a_token_says_whose_it_is_and_no_other_secret_accepts_it() {
        let id = SessionId::generate();
        let token = SessionToken::generate(&secrets(), id).unwrap();
        let text = token.expose();
        assert_eq!(text.len(), 4 + 86);
        let parsed = SessionToken::parse(&text, &secrets()).unwrap();
        assert_eq!((parsed.session_id(), parsed.hash()), (id, token.hash()));
        assert_eq!(SessionToken::parse(&text, &Secrets::parse(AuthApi::OTHER_SECRET).unwrap()), Err(Forged));
        let both = format!("{},{}", AuthApi::OTHER_SECRET, AuthApi::SECRET);
        assert_eq!(SessionToken::parse(&text, &Secrets::parse(&both).unwrap()), Ok(token));
    }

    #[test]
    fn a_tag_of_another_purpose_is_none() {
        let mut bytes = [7; LENGTH];
        let tag = secrets().tag(Purpose::RefreshToken, &[&bytes[..TAG_AT]]);
        bytes[TAG_AT..].copy_from_slice(&tag);
        let text = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes));
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
