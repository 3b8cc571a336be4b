//! The programs that may ask about tokens: their ids, and the argon2id hashes of their secrets.

use std::collections::HashMap;
use std::fmt;

use argon2::Argon2;
use argon2::password_hash::{PasswordHash, PasswordHashString, PasswordHasher as _, PasswordVerifier as _, SaltString};
use secrecy::{ExposeSecret as _, SecretString};

/// The programs that may introspect and revoke tokens, by their ids, with the argon2id hashes of their secrets.
///
/// As text, one client a line: `id:$argon2id$v=19$m=19456,t=2,p=1$salt$hash`; empty lines and those that begin with `#`
/// say nothing.
#[derive(Clone, Default)]
pub struct Clients(HashMap<ClientId, PasswordHashString>);

/// What a client is called: 1 to 64 letters, digits, `.`, `_`, `-` and `~`, which are the same in any encoding.
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
    /// Not a hash by argon2id.
    #[error("line {0}: not an argon2id hash; `auth-api clients add ID` makes one")]
    NotArgon2id(usize),
    /// It would take more memory than all of the API, or hold up everybody.
    #[error("line {0}: a hash that takes more than {max} MiB or {MOST_PASSES} passes to check", max = MOST_MEMORY / 1024)]
    TooCostly(usize),
    /// The same client twice.
    #[error("line {0}: this client stands there twice")]
    Repeated(usize),
}

/// In KiB: checking one must not take more memory than a small machine has.
const MOST_MEMORY: u32 = 128 * 1024;
/// Each takes milliseconds for the memory of two.
const MOST_PASSES: u32 = 16;

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
    pub fn hash_of(&self, id: &str) -> Option<&PasswordHashString> {
        self.0.get(&ClientId(id.to_owned()))
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
pub fn parse_line(line: &str, number: usize) -> Result<Option<(ClientId, PasswordHashString)>, ClientsError> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let (id, hash) = line.split_once(':').ok_or(ClientsError::Malformed(number))?;
    let id = ClientId::parse(id.trim()).map_err(|_| ClientsError::Malformed(number))?;
    let hash = PasswordHashString::new(hash.trim()).map_err(|_| ClientsError::NotArgon2id(number))?;
    let parameters = argon2::Params::try_from(&hash.password_hash());
    let parameters = parameters.map_err(|_| ClientsError::NotArgon2id(number))?;
    if hash.algorithm() != argon2::ARGON2ID_IDENT || hash.hash().is_none() || hash.salt().is_none() {
        return Err(ClientsError::NotArgon2id(number));
    }
    if parameters.m_cost() > MOST_MEMORY || parameters.t_cost() > MOST_PASSES {
        return Err(ClientsError::TooCostly(number));
    }
    Ok(Some((id, hash)))
}

/// No secret could be made.
#[derive(Debug, thiserror::Error)]
pub enum NoSecret {
    /// The system has no randomness.
    #[error("no randomness: {0}")]
    Random(#[from] getrandom::Error),
    /// It could not be hashed.
    #[error("cannot hash a secret: {0}")]
    Hash(#[from] argon2::password_hash::Error),
}

/// The hash of a secret, with a salt of its own and the parameters that OWASP's Password Storage Cheat Sheet recommends:
/// argon2id, 19 MiB, 2 passes. Takes tens of milliseconds.
pub fn hash(secret: &SecretString) -> Result<PasswordHashString, NoSecret> {
    let mut salt = [0; 16];
    getrandom::fill(&mut salt)?;
    let salt = SaltString::encode_b64(&salt)?;
    Ok(Argon2::default().hash_password(secret.expose_secret().as_bytes(), &salt)?.serialize())
}

/// Whether a secret is the one of a hash. Takes tens of milliseconds, and the memory that the hash says.
#[must_use]
pub fn is_secret_of(secret: &SecretString, hash: &PasswordHash<'_>) -> bool {
    Argon2::default().verify_password(secret.expose_secret().as_bytes(), hash).is_ok()
}
