//! The clients that may introspect and revoke tokens: their ids and the hashes of their secrets.

use std::collections::HashMap;
use std::fmt;

use super::client_secret::{InvalidHash, MOST_MEMORY, MOST_PASSES, SecretHash};

/// The clients that may introspect and revoke tokens: a map from ids to the hashes of their
/// secrets.
///
/// The text format has one client per line: `id:$blake3$…`. Empty lines and lines that begin with
/// `#` are ignored. Lines that earlier releases wrote,
/// `id:$argon2id$v=19$m=19456,t=2,p=1$salt$hash`, are also accepted.
#[derive(Clone, Default)]
pub struct Clients(HashMap<ClientId, SecretHash>);

/// The id of a client: 1 to 64 letters, digits, `.`, `_`, `-`, and `~`. These characters are not
/// escaped in any of the encodings that requests use.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClientId(String);

/// The text is not a valid client id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a client id has 1 to 64 characters, each a letter, a digit, `.`, `_`, `-`, or `~`")]
pub struct InvalidClientId;

/// Why a file of clients is invalid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientsError {
    /// The line has no colon, or no valid id before the colon.
    #[error("line {0}: expected `id:hash`; `auth-api clients add ID` writes such a line")]
    Malformed(usize),
    /// The part after the colon is not a hash of a secret.
    #[error("line {0}: not the hash of a secret; `auth-api clients add ID` creates one")]
    NotAHash(usize),
    /// Checking a secret against the hash would take too much memory, or delay other requests too
    /// much.
    #[error("line {0}: checking this hash takes more than {max} MiB or {MOST_PASSES} passes", max = MOST_MEMORY / 1024)]
    TooCostly(usize),
    /// The client is already defined on an earlier line.
    #[error("line {0}: this client is listed twice")]
    Repeated(usize),
}

impl ClientId {
    /// Parses an id.
    pub fn parse(text: &str) -> Result<Self, InvalidClientId> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-~".contains(&byte);
        let fits = (1..=64).contains(&text.len()) && text.bytes().all(plain);
        if fits { Ok(Self(text.to_owned())) } else { Err(InvalidClientId) }
    }

    /// Returns the id as it is written in the file.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Clients {
    /// Parses a file of clients.
    pub fn parse(text: &str) -> Result<Self, ClientsError> {
        let mut clients = HashMap::new();
        for (number, line) in (1..).zip(text.lines()) {
            let Some((id, hash)) = parse_line(line, number)? else { continue };
            if clients.insert(id, hash).is_some() {
                return Err(ClientsError::Repeated(number));
            }
        }
        Ok(Self(clients))
    }

    /// Returns the hash against which a secret of this client is checked.
    #[must_use]
    pub fn hash_of(&self, id: &ClientId) -> Option<&SecretHash> {
        self.0.get(id)
    }

    /// Returns the clients whose hash was written by an earlier release, sorted by id.
    #[must_use]
    pub fn with_old_hashes(&self) -> Vec<&ClientId> {
        let old = self.0.iter().filter(|(_, hash)| matches!(hash, SecretHash::Argon2id(_)));
        let mut ids: Vec<_> = old.map(|(id, _)| id).collect();
        ids.sort_unstable_by_key(|id| id.as_str());
        ids
    }

    /// Returns the number of clients.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.len()
    }
}

impl fmt::Debug for Clients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Clients({})", self.count())
    }
}

/// Parses a line of the file. Returns `None` if the line does not define a client.
pub fn parse_line(
    line: &str,
    number: usize,
) -> Result<Option<(ClientId, SecretHash)>, ClientsError> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let (id, hash) = line.split_once(':').ok_or(ClientsError::Malformed(number))?;
    let id = ClientId::parse(id.trim()).map_err(|_| ClientsError::Malformed(number))?;
    let hash = SecretHash::parse(hash.trim()).map_err(|error| match error {
        InvalidHash::Unknown => ClientsError::NotAHash(number),
        InvalidHash::TooCostly => ClientsError::TooCostly(number),
    })?;
    Ok(Some((id, hash)))
}
