//! The Ed25519 keys that sign access tokens. They are stored in a directory of PKCS#8 PEM files,
//! and the name of each file contains the time at which the key was made.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, NaiveDateTime, Utc};
use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _, KeypairBytes};
use jsonwebtoken::{DecodingKey, EncodingKey};
use secrecy::zeroize::Zeroizing;
use serde::Serialize;
use utoipa::ToSchema;

use crate::files;

/// The format of the time in a file name such as `20261121T090000Z-anything.pem`.
const NAME_TIME: &str = "%Y%m%dT%H%M%SZ";

/// A key. The `kid` is the name of the key's file without `.pem`.
struct Key {
    kid: String,
    path: PathBuf,
    made_at: DateTime<Utc>,
    public: [u8; 32],
    encoding: EncodingKey,
    decoding: DecodingKey,
}

/// All keys, oldest first. Never empty.
pub struct SigningKeys {
    keys: Vec<Key>,
    delay: chrono::Duration,
}

/// The public keys that verify access tokens (RFC 7517).
#[derive(Serialize, ToSchema)]
pub struct Jwks {
    /// The keys, oldest first. Some may not sign yet. Keys whose tokens have all expired are
    /// omitted.
    #[schema(min_items = 1)]
    keys: Vec<Jwk>,
}

/// A public key (RFC 8037).
#[derive(Serialize, ToSchema)]
struct Jwk {
    /// The key type.
    #[schema(value_type = String, pattern = "^OKP$")]
    kty: &'static str,
    /// The curve.
    #[schema(value_type = String, pattern = "^Ed25519$")]
    crv: &'static str,
    /// The intended use of the key.
    #[schema(value_type = String, pattern = "^sig$")]
    r#use: &'static str,
    /// The only algorithm to accept with this key.
    #[schema(value_type = String, pattern = "^EdDSA$")]
    alg: &'static str,
    /// The id of the key, which the header of a token contains.
    #[schema(examples("20261121T090000Z-3f6b2c"))]
    kid: String,
    /// The public key in base64url.
    #[schema(
        pattern = "^[A-Za-z0-9_-]{43}$",
        examples("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo")
    )]
    x: String,
}

/// How long a token may remain valid after its key has stopped signing: the maximum of
/// `ACCESS_TOKEN_TTL`, plus one minute for differences between clocks.
const LONGEST_TOKEN: chrono::Duration = chrono::Duration::minutes(31);

/// A phase in the life of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// The key is published but does not sign yet, so that verifiers have the key before it signs.
    Waiting,
    /// The key signs new tokens.
    Signing,
    /// A newer key signs. Tokens signed by this key may still be valid.
    Verifying,
    /// No token signed by this key can still be valid, so the key can be retired.
    Spent,
}

/// The status of a key at a given time.
#[derive(Clone, Debug, Serialize)]
pub struct KeyStatus<'k> {
    /// The id of the key.
    pub kid: &'k str,
    /// When the key was made, according to the name of its file.
    pub made_at: DateTime<Utc>,
    /// The phase of the key.
    pub phase: Phase,
    /// When the next phase begins; `None` if the time is unknown.
    pub until: Option<DateTime<Utc>>,
    /// The file of the key.
    #[serde(skip)]
    pub path: &'k Path,
}

/// Why the keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SigningKeysError {
    /// The directory or a file in it cannot be read or written.
    #[error("SIGNING_KEYS_DIR: {}: {error}", path.display())]
    Io {
        /// The path of the directory or file.
        path: PathBuf,
        /// The error from the operating system.
        error: std::io::Error,
    },
    /// The directory contains no key.
    #[error("SIGNING_KEYS_DIR: no key in {}; `auth-api keys generate --dir {}` creates one", .0.display(), .0.display())]
    Empty(PathBuf),
    /// The name of a `.pem` file does not contain the time at which the key was made.
    #[error("SIGNING_KEYS_DIR: {}: the name of a key must begin with the time at which it was made, as in 20261121T090000Z-a.pem", .0.display())]
    Name(PathBuf),
    /// The file is not an Ed25519 private key.
    #[error("SIGNING_KEYS_DIR: {}: not an Ed25519 private key in PKCS#8 PEM ({reason})", path.display())]
    NotAKey {
        /// The path of the file.
        path: PathBuf,
        /// The error from the parser.
        reason: String,
    },
}

impl SigningKeys {
    /// Reads every `.pem` file in a directory. `delay` is the minimum age at which a key signs.
    pub fn read(directory: &Path, delay: Duration) -> Result<Self, SigningKeysError> {
        let io = |path: &Path, error| SigningKeysError::Io { path: path.to_owned(), error };
        // Anyone who can write to this directory can add a key that signs.
        directory
            .metadata()
            .and_then(|metadata| files::refuse_writable(&metadata))
            .map_err(|error| io(directory, error))?;
        let mut keys = Vec::new();
        for entry in fs::read_dir(directory).map_err(|error| io(directory, error))? {
            let path = entry.map_err(|error| io(directory, error))?.path();
            if path.extension().is_some_and(|extension| extension == "pem") {
                let pem = files::read_secret(&path).map_err(|error| io(&path, error))?;
                keys.push(Key::parse(&path, &pem)?);
            }
        }
        if keys.is_empty() {
            return Err(SigningKeysError::Empty(directory.to_owned()));
        }
        keys.sort_by(|one, other| (one.made_at, &one.kid).cmp(&(other.made_at, &other.kid)));
        Ok(Self { keys, delay: chrono::Duration::from_std(delay).unwrap_or(chrono::Duration::MAX) })
    }

    /// Returns the key that signs at `now`: the newest key that has been published for long enough,
    /// or the oldest key if there is no such key.
    pub(crate) fn signer(&self, now: DateTime<Utc>) -> (&str, &EncodingKey) {
        let newest =
            self.keys.iter().rev().find(|key| now.signed_duration_since(key.made_at) >= self.delay);
        let key = newest.unwrap_or(&self.keys[0]);
        (&key.kid, &key.encoding)
    }

    /// Returns the key with this id, for verification.
    pub(crate) fn verifier(&self, kid: &str) -> Option<&DecodingKey> {
        self.keys.iter().find(|key| key.kid == kid).map(|key| &key.decoding)
    }

    /// Returns the public keys as a JWK set (RFC 7517, with Ed25519 keys as in RFC 8037). Keys in
    /// [`Phase::Spent`] are omitted. If they were included and no operator retired them, the set
    /// would grow until verifiers rejected it. If `now` is `None` because the time is unknown, the
    /// set contains all keys.
    #[must_use]
    pub fn jwks(&self, now: Option<DateTime<Utc>>) -> Jwks {
        let spent = |key: &KeyStatus<'_>| key.phase == Phase::Spent;
        let spent: Vec<bool> =
            now.map_or_else(Vec::new, |now| self.standing(now).iter().map(spent).collect());
        let key = |key: &Key| Jwk {
            kty: "OKP",
            crv: "Ed25519",
            r#use: "sig",
            alg: "EdDSA",
            kid: key.kid.clone(),
            x: URL_SAFE_NO_PAD.encode(key.public),
        };
        let published = self
            .keys
            .iter()
            .enumerate()
            .filter(|(at, _)| !spent.get(*at).is_some_and(|spent| *spent));
        Jwks { keys: published.map(|(_, one)| key(one)).collect() }
    }

    /// Returns how long a key is published before it signs tokens.
    #[must_use]
    pub fn delay(&self) -> Duration {
        self.delay.to_std().unwrap_or_default()
    }

    /// Returns the status of each key, oldest first. A key begins to sign when it has been
    /// published for long enough, and stops when the next key begins to sign. The oldest key signs
    /// from the beginning.
    #[must_use]
    pub fn standing(&self, now: DateTime<Utc>) -> Vec<KeyStatus<'_>> {
        let mut statuses = Vec::with_capacity(self.keys.len());
        for (index, key) in self.keys.iter().enumerate() {
            let begins = if index == 0 { DateTime::<Utc>::MIN_UTC } else { self.signs_from(key) };
            let ends = self.keys.get(index + 1).map(|next| self.signs_from(next));
            let spent = ends.map(|ends| {
                ends.checked_add_signed(LONGEST_TOKEN).unwrap_or(DateTime::<Utc>::MAX_UTC)
            });
            let (phase, until) = match (ends, spent) {
                (_, Some(spent)) if spent <= now => (Phase::Spent, None),
                (Some(ends), _) if ends <= now => (Phase::Verifying, spent),
                _ if begins <= now => (Phase::Signing, ends),
                _ => (Phase::Waiting, Some(begins)),
            };
            statuses.push(KeyStatus {
                kid: &key.kid,
                made_at: key.made_at,
                phase,
                until,
                path: &key.path,
            });
        }
        statuses
    }

    /// Returns when a key begins to sign, according to the name of its file. Does not apply to the
    /// oldest key, which signs from the beginning.
    fn signs_from(&self, key: &Key) -> DateTime<Utc> {
        key.made_at.checked_add_signed(self.delay).unwrap_or(DateTime::<Utc>::MAX_UTC)
    }

    /// Returns the id of each key and the time at which the key was made.
    pub fn made(&self) -> impl Iterator<Item = (&str, DateTime<Utc>)> {
        self.keys.iter().map(|key| (key.kid.as_str(), key.made_at))
    }
}

impl Key {
    fn parse(path: &Path, pem: &str) -> Result<Self, SigningKeysError> {
        let name = || SigningKeysError::Name(path.to_owned());
        let kid = path.file_stem().and_then(|stem| stem.to_str()).ok_or_else(name)?;
        let time = kid.split_once('-').map_or(kid, |(time, _)| time);
        let made_at = NaiveDateTime::parse_from_str(time, NAME_TIME).map_err(|_| name())?.and_utc();
        let not_a_key =
            |reason: String| SigningKeysError::NotAKey { path: path.to_owned(), reason };
        let key = SigningKey::from_pkcs8_pem(pem).map_err(|error| not_a_key(error.to_string()))?;
        let public = key.verifying_key().to_bytes();
        let encoding = EncodingKey::from_ed_pem(pem.as_bytes())
            .map_err(|error| not_a_key(error.to_string()))?;
        let decoding = DecodingKey::from_ed_components(&URL_SAFE_NO_PAD.encode(public))
            .map_err(|error| not_a_key(error.to_string()))?;
        Ok(Self { kid: kid.to_owned(), path: path.to_owned(), made_at, public, encoding, decoding })
    }
}

/// Generates a key in `directory`, which is created if it does not exist. Only the owner of the key
/// file can read it. Returns the path of the file.
pub fn generate(directory: &Path, now: DateTime<Utc>) -> Result<PathBuf, SigningKeysError> {
    let io = |path: &Path, error| SigningKeysError::Io { path: path.to_owned(), error };
    fs::create_dir_all(directory).map_err(|error| io(directory, error))?;
    let mut seed = Zeroizing::new([0; 32]);
    let mut suffix = [0; 4];
    getrandom::fill(seed.as_mut_slice())
        .and_then(|()| getrandom::fill(&mut suffix))
        .map_err(|error| io(directory, std::io::Error::other(error)))?;
    let path = directory.join(format!("{}-{}.pem", now.format(NAME_TIME), hex::encode(suffix)));
    let not_a_key = |reason: String| SigningKeysError::NotAKey { path: path.clone(), reason };
    // Write PKCS#8 v1, without the public key, like the `openssl` command. OpenSSL 3.0 cannot read
    // v2.
    let pem = KeypairBytes { secret_key: *seed, public_key: None }
        .to_pkcs8_pem(LineEnding::LF)
        .map_err(|error| not_a_key(error.to_string()))?;
    files::create(&path, &pem).map_err(|error| io(&path, error))?;
    Ok(path)
}
