//! The programs that may ask about tokens: their ids, and the hashes of their secrets.

use std::collections::HashMap;
use std::fmt;

use super::client_secret::{InvalidHash, MOST_MEMORY, MOST_PASSES, SecretHash};

/// The programs that may introspect and revoke tokens, by their ids, with the hashes of their
/// secrets.
///
/// As text, one client a line: `id:$blake3$…`; empty lines and those that begin with `#` say
/// nothing. Lines of earlier releases, `id:$argon2id$v=19$m=19456,t=2,p=1$salt$hash`, are read as
/// well.
#[derive(Clone, Default)]
pub struct Clients(HashMap<ClientId, SecretHash>);

/// What a client is called: 1 to 64 letters, digits, `.`, `_`, `-` and `~`, which are the same in
/// any encoding.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClientId(String);

/// Not the name of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a client's id is 1 to 64 letters, digits, `.`, `_`, `-` or `~`")]
pub struct InvalidClientId;

/// Why a text does not name clients.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientsError {
    /// No colon, or no id before it.
    #[error("line {0}: not `id:hash`; `auth-api clients add ID` writes such a line")]
    Malformed(usize),
    /// Not a hash of a secret.
    #[error("line {0}: not the hash of a secret; `auth-api clients add ID` makes one")]
    NotAHash(usize),
    /// It would take more memory than all of the API, or hold up everybody.
    #[error("line {0}: a hash that takes more than {max} MiB or {MOST_PASSES} passes to check", max = MOST_MEMORY / 1024)]
    TooCostly(usize),
    /// The same client twice.
    #[error("line {0}: this client stands there twice")]
    Repeated(usize),
}

impl ClientId {
    /// Parses an id.
    pub fn parse(text: &str) -> Result<Self, InvalidClientId> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-~".contains(&byte);
        let fits = (1..=64).contains(&text.len()) && text.bytes().all(plain);
        if fits { Ok(Self(text.to_owned())) } else { Err(InvalidClientId) }
    }

    /// As it stands in the file.
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

    /// What a client's secret is checked against.
    #[must_use]
    pub fn hash_of(&self, id: &ClientId) -> Option<&SecretHash> {
        self.0.get(id)
    }

    /// Those whose hash an earlier release wrote, in the order of their ids.
    #[must_use]
    pub fn with_old_hashes(&self) -> Vec<&ClientId> {
        let old = self.0.iter().filter(|(_, hash)| matches!(hash, SecretHash::Argon2id(_)));
        let mut ids: Vec<_> = old.map(|(id, _)| id).collect();
        ids.sort_unstable_by_key(|id| id.as_str());
        ids
    }

    /// How many there are.
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

/// The client that a line of the file names; `None`: it names none.
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
