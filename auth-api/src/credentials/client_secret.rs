//! What is stored of a client's secret, and how a secret is checked against it.

use std::fmt;

use argon2::password_hash::PasswordHashString;
use argon2::{Algorithm, Argon2, Block, Params, Version};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret as _, SecretString};
use subtle::ConstantTimeEq as _;

/// What is stored of a client's secret.
#[derive(Clone, PartialEq, Eq)]
pub enum SecretHash {
    /// The BLAKE3 hash of a secret of 256 random bits, written `$blake3$` and 64 hexadecimal
    /// digits.
    ///
    /// A slow hash protects what people choose. Against 256 random bits nobody guesses, however
    /// fast the hash is, and a slow one is a lever for whoever sends wrong secrets.
    Blake3([u8; 32]),
    /// An argon2id hash, which earlier releases wrote. `auth-api clients rehash ID` replaces it.
    Argon2id(PasswordHashString),
}

/// Not a hash of a client's secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum InvalidHash {
    /// Neither a BLAKE3 nor an argon2id hash.
    Unknown,
    /// It would take more memory than a small machine has, or hold up everybody.
    TooCostly,
}

const BLAKE3: &str = "$blake3$";
/// Separates these hashes from all others.
const CONTEXT: &str = "session-reaper auth-api 2026-11 client secret";
/// Of an argon2id hash, in KiB.
pub(super) const MOST_MEMORY: u32 = 128 * 1024;
/// Of an argon2id hash: each takes milliseconds for the memory of two.
pub(super) const MOST_PASSES: u32 = 16;

impl SecretHash {
    /// The hash of a secret that was made by [`random_word`](super::random_word).
    #[must_use]
    pub fn of(secret: &SecretString) -> Self {
        Self::Blake3(blake3(secret))
    }

    pub(super) fn parse(text: &str) -> Result<Self, InvalidHash> {
        if let Some(digits) = text.strip_prefix(BLAKE3) {
            let mut hash = [0; 32];
            hex::decode_to_slice(digits, &mut hash).map_err(|_| InvalidHash::Unknown)?;
            return Ok(Self::Blake3(hash));
        }
        let hash = PasswordHashString::new(text).map_err(|_| InvalidHash::Unknown)?;
        let parameters =
            Params::try_from(&hash.password_hash()).map_err(|_| InvalidHash::Unknown)?;
        if hash.algorithm() != argon2::ARGON2ID_IDENT
            || hash.hash().is_none()
            || hash.salt().is_none()
        {
            return Err(InvalidHash::Unknown);
        }
        if parameters.m_cost() > MOST_MEMORY || parameters.t_cost() > MOST_PASSES {
            return Err(InvalidHash::TooCostly);
        }
        Ok(Self::Argon2id(hash))
    }

    /// Whether this is the hash of a secret. A BLAKE3 hash takes microseconds; an argon2id hash
    /// tens of milliseconds, and the memory that it names.
    pub fn verifies(&self, secret: &SecretString, memory: &mut Argon2Memory) -> bool {
        match self {
            Self::Blake3(hash) => blake3(secret).ct_eq(hash).into(),
            Self::Argon2id(hash) => memory.verify(secret, hash).is_some_and(|same| same),
        }
    }
}

impl fmt::Display for SecretHash {
    /// As it is stored.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blake3(hash) => write!(f, "{BLAKE3}{}", hex::encode(hash)),
            Self::Argon2id(hash) => f.write_str(hash.as_str()),
        }
    }
}

fn blake3(secret: &SecretString) -> [u8; 32] {
    blake3::derive_key(CONTEXT, secret.expose_secret().as_bytes())
}

/// Whether a secret has the form of those that `auth-api clients add` makes: 256 bits in base64url.
/// A fast hash is safe for no other.
#[must_use]
pub fn is_random_word(secret: &SecretString) -> bool {
    URL_SAFE_NO_PAD.decode(secret.expose_secret()).is_ok_and(|bytes| bytes.len() == 32)
}

/// The memory in which argon2id hashes are computed, kept from one to the next: allocated and freed
/// for each, blocks of 19 MiB stay with the allocator, one for each thread that has ever computed a
/// hash.
#[derive(Default)]
pub struct Argon2Memory(Vec<Block>);

impl Argon2Memory {
    fn verify(&mut self, secret: &SecretString, hash: &PasswordHashString) -> Option<bool> {
        let parts = hash.password_hash();
        let (salt, expected) = (parts.salt?, parts.hash?);
        let mut salt_bytes = [0; 64];
        let salt = salt.decode_b64(&mut salt_bytes).ok()?;
        let version = parts.version.map_or(Ok(Version::default()), Version::try_from).ok()?;
        let parameters = Params::try_from(&parts).ok()?;
        if self.0.len() < parameters.block_count() {
            self.0.resize(parameters.block_count(), Block::default());
        }
        let argon2 = Argon2::new(Algorithm::Argon2id, version, parameters);
        let mut out = vec![0; expected.len()];
        let secret = secret.expose_secret().as_bytes();
        argon2
            .hash_password_into_with_memory(secret, salt, &mut out, self.0.as_mut_slice())
            .ok()?;
        Some(out.ct_eq(expected.as_bytes()).into())
    }
}
