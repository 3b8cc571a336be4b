use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use secrecy::zeroize::Zeroizing;
use subtle::ConstantTimeEq as _;

/// What `ADMIN_TOKEN_FILE` must hold at least: 32 characters, even if they are hexadecimal digits, are 128 bits.
const SHORTEST: usize = 32;

/// The operators' token: where it stands, and its hash.
#[derive(Clone, PartialEq, Eq)]
pub struct AdminToken {
    file: PathBuf,
    hash: [u8; 32],
}

/// Why a file holds no token.
#[derive(Debug, thiserror::Error)]
pub enum AdminTokenError {
    /// It cannot be read.
    #[error("{}: {error}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// Somebody could guess it.
    #[error("{}: shorter than {SHORTEST} characters; `auth-api admin token` prints a good one", .0.display())]
    Short(PathBuf),
    /// It could not be sent in a header.
    #[error("{}: a token is one word of visible ASCII; `auth-api admin token` prints a good one", .0.display())]
    NotAWord(PathBuf),
}

impl AdminToken {
    /// Reads a file. Space around the token does not count.
    pub fn read(file: &Path) -> Result<Self, AdminTokenError> {
        let text = std::fs::read_to_string(file).map(Zeroizing::new);
        let text = text.map_err(|error| AdminTokenError::Io { path: file.to_owned(), error })?;
        let token = text.trim();
        if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(AdminTokenError::NotAWord(file.to_owned()));
        }
        if token.len() < SHORTEST {
            return Err(AdminTokenError::Short(file.to_owned()));
        }
        Ok(Self { file: file.to_owned(), hash: hash(token) })
    }

    /// Where it stands.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.file
    }
}

impl fmt::Debug for AdminToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdminToken").field("file", &self.file).finish_non_exhaustive()
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
        token.as_ref().is_some_and(|token| token.hash.ct_eq(&hash(presented)).into())
    }

    /// Reads the file again. When there is no token in it, the one that stood goes on standing.
    pub fn reload(&self) -> Result<(), AdminTokenError> {
        if let Some(token) = self.0.load_full() {
            self.0.store(Some(Arc::new(AdminToken::read(token.file())?)));
        }
        Ok(())
    }
}

fn hash(token: &str) -> [u8; 32] {
    *blake3::hash(token.as_bytes()).as_bytes()
}
