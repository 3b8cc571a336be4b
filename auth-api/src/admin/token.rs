use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use subtle::ConstantTimeEq as _;

/// What `ADMIN_TOKEN_FILE` must hold at least: 32 characters, even if they are hexadecimal digits,
/// are 128 bits.
const SHORTEST: usize = 32;

/// The operators' token, as its hash.
#[derive(Clone, PartialEq, Eq)]
pub struct AdminToken([u8; 32]);

/// Why a text is no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AdminTokenError {
    /// Somebody could guess it.
    #[error("shorter than {SHORTEST} characters; `auth-api admin token` prints a good one")]
    Short,
    /// It could not be sent in a header.
    #[error("a token is one word of visible ASCII; `auth-api admin token` prints a good one")]
    NotAWord,
}

impl AdminToken {
    /// Parses what `ADMIN_TOKEN_FILE` holds.
    pub fn parse(token: &str) -> Result<Self, AdminTokenError> {
        if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(AdminTokenError::NotAWord);
        }
        if token.len() < SHORTEST {
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

/// Who may act as an operator: whoever has the token, and nobody without one.
#[derive(Debug)]
pub struct Admin(ArcSwapOption<AdminToken>);

impl Admin {
    /// `None`: there are no operators here.
    #[must_use]
    pub fn new(token: Option<AdminToken>) -> Self {
        Self(ArcSwapOption::from_pointee(token))
    }

    /// Whether there are operators at all.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.0.load().is_some()
    }

    /// Whether this is the token; in constant time.
    #[must_use]
    pub fn knows(&self, presented: &str) -> bool {
        let token = self.0.load();
        token.as_ref().is_some_and(|token| token.0.ct_eq(&hash(presented)).into())
    }

    /// Puts another token into force, at once.
    pub fn replace(&self, token: AdminToken) {
        self.0.store(Some(Arc::new(token)));
    }

    /// Lets nobody in, from now on.
    pub fn close(&self) {
        self.0.store(None);
    }
}

fn hash(token: &str) -> [u8; 32] {
    *blake3::hash(token.as_bytes()).as_bytes()
}
