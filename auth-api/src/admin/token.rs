use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use subtle::ConstantTimeEq as _;

/// The minimum length of the token in `ADMIN_TOKEN_FILE`, in characters. 32 hexadecimal digits
/// contain 128 bits.
const MIN_LENGTH: usize = 32;

/// The hash of the operators' token.
#[derive(Clone, PartialEq, Eq)]
pub struct AdminToken([u8; 32]);

/// The reason why a text is not a valid token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AdminTokenError {
    /// The text is so short that it could be guessed.
    #[error("shorter than {MIN_LENGTH} characters; `auth-api admin token` generates one")]
    Short,
    /// The text contains spaces, or characters that a header cannot contain.
    #[error("a token is one word of visible ASCII; `auth-api admin token` generates one")]
    NotAWord,
}

impl AdminToken {
    /// Parses the token in `ADMIN_TOKEN_FILE`.
    pub fn parse(token: &str) -> Result<Self, AdminTokenError> {
        if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(AdminTokenError::NotAWord);
        }
        if token.len() < MIN_LENGTH {
            return Err(AdminTokenError::Short);
        }
        Ok(Self(hash(token)))
    }
}

impl fmt::Debug for AdminToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AdminToken")
    }
}

/// The authentication of operators. Only requests with the token are accepted. Without a configured
/// token, all requests are rejected.
#[derive(Debug)]
pub struct Admin(ArcSwapOption<AdminToken>);

impl Admin {
    /// Creates the authenticator for the operators' token. If `token` is `None`, every token is
    /// rejected.
    #[must_use]
    pub fn new(token: Option<AdminToken>) -> Self {
        Self(ArcSwapOption::from_pointee(token))
    }

    /// Returns `true` if a token is configured.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.0.load().is_some()
    }

    /// Returns `true` if `presented` is the configured token. The comparison takes constant time.
    #[must_use]
    pub fn accepts(&self, presented: &str) -> bool {
        let token = self.0.load();
        token.as_ref().is_some_and(|token| token.0.ct_eq(&hash(presented)).into())
    }

    /// Replaces the token, effective immediately.
    pub fn replace(&self, token: AdminToken) {
        self.0.store(Some(Arc::new(token)));
    }

    /// Rejects every token from now on.
    pub fn close(&self) {
        self.0.store(None);
    }
}

fn hash(token: &str) -> [u8; 32] {
    *blake3::hash(token.as_bytes()).as_bytes()
}
