//! Authentication of other services: the client id and secret of a request (HTTP Basic) are checked
//! against the hashes in `INTROSPECTION_CLIENTS_FILE`.
//!
//! Secrets have 256 random bits, so a fast hash (BLAKE3) is sufficient and is checked immediately.
//! Earlier releases stored argon2id hashes, which take tens of milliseconds and 19 MiB. Argon2id
//! hashes are checked on a blocking thread, one at a time, in one shared buffer ([`OldHashes`]). A
//! secret that was accepted is not hashed again for a minute ([`REMEMBERED`]).

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use moka::sync::Cache;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::credentials::clients::{ClientId, Clients};
use crate::credentials::{Argon2Memory, SecretHash};

/// The time during which an accepted secret is not checked against its argon2id hash again.
const REMEMBERED: Duration = Duration::from_mins(1);
/// The maximum number of accepted secrets that are remembered.
const MOST_REMEMBERED: u64 = 1024;
/// Maximum time for which a request waits until its argon2id hash can be computed. In this time,
/// about a dozen other hashes can be computed.
const TURN: Duration = Duration::from_secs(1);

/// The registered clients, and the state needed to check their secrets.
pub struct ClientCheck {
    known: ArcSwap<Clients>,
    old: Arc<OldHashes>,
}

/// The state needed to check argon2id hashes, which earlier releases stored.
struct OldHashes {
    /// The secrets that were accepted, as keyed hashes. Each hash is made from a client id, its
    /// secret and its stored hash.
    good: Cache<[u8; 32], ()>,
    /// The key with which the hashes in `good` are made. Each process generates a random key.
    key: [u8; 32],
    /// Allows one argon2id computation at a time. Parallel computations would not finish sooner,
    /// and each would need its own memory.
    turns: Arc<Semaphore>,
    memory: Mutex<Argon2Memory>,
}

/// The client credentials in a request.
pub struct PresentedSecret {
    /// The client id that the request claims.
    pub id: String,
    /// The secret that proves the client id.
    pub secret: SecretString,
}

/// The result of [`ClientCheck::recognise`].
pub enum Recognition {
    /// The secret belongs to this client.
    Client(ClientId),
    /// There is no such client, or the secret is wrong.
    Nobody,
    /// The secret must be checked against an argon2id hash.
    Old(OldCheck),
}

/// A secret that must be checked against an argon2id hash.
pub struct OldCheck {
    hashes: Arc<OldHashes>,
    id: ClientId,
    secret: SecretString,
    hash: SecretHash,
}

/// Too many argon2id checks are waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("client secret not checked within {} s: too many argon2id checks are waiting", TURN.as_secs())]
pub struct Busy;

/// Permission to compute one argon2id hash. Only one such permission exists at a time.
pub struct Turn {
    check: OldCheck,
    permit: OwnedSemaphorePermit,
}

impl ClientCheck {
    /// Creates a check for these clients. Fails if the system's random number generator fails.
    pub fn new(clients: Clients) -> Result<Self, getrandom::Error> {
        let mut key = [0; 32];
        getrandom::fill(&mut key)?;
        let good = Cache::builder().max_capacity(MOST_REMEMBERED).time_to_live(REMEMBERED).build();
        let old =
            OldHashes { good, key, turns: Arc::new(Semaphore::new(1)), memory: Mutex::default() };
        warn_of_old_hashes(&clients);
        Ok(Self { known: ArcSwap::from_pointee(clients), old: Arc::new(old) })
    }

    /// Replaces all clients with immediate effect.
    pub fn replace(&self, clients: Clients) {
        warn_of_old_hashes(&clients);
        self.known.store(Arc::new(clients));
    }

    /// Removes all clients with immediate effect.
    pub fn close(&self) {
        self.replace(Clients::default());
    }

    /// Identifies the client of a request if its secret can be checked within microseconds.
    /// Otherwise returns [`Recognition::Old`], and the caller must check the argon2id hash.
    #[must_use]
    pub fn recognise(&self, presented: PresentedSecret) -> Recognition {
        let PresentedSecret { id, secret } = presented;
        let Ok(id) = ClientId::parse(&id) else { return Recognition::Nobody };
        match self.known.load().hash_of(&id) {
            None => Recognition::Nobody,
            Some(hash @ SecretHash::Blake3(_)) => {
                if hash.verifies(&secret, &mut Argon2Memory::default()) {
                    Recognition::Client(id)
                } else {
                    Recognition::Nobody
                }
            }
            Some(hash @ SecretHash::Argon2id(_)) => {
                let check =
                    OldCheck { hashes: Arc::clone(&self.old), id, secret, hash: hash.clone() };
                if check.is_remembered() {
                    Recognition::Client(check.id)
                } else {
                    Recognition::Old(check)
                }
            }
        }
    }
}

fn warn_of_old_hashes(clients: &Clients) {
    let old = clients.with_old_hashes();
    if !old.is_empty() {
        let ids = old.iter().map(|id| id.as_str()).collect::<Vec<_>>().join(" ");
        tracing::warn!(
            event = "old_client_hashes",
            clients = ids,
            "argon2id client hashes are deprecated and will be rejected by the next release; convert them with `auth-api clients rehash ID`"
        );
    }
}

impl OldCheck {
    /// Waits until the hash can be computed, or fails with [`Busy`]. Several requests from one
    /// client may wait at the same time. While this request waits, another request with the same
    /// secret may already have been checked (see [`Turn::remembered`]).
    pub async fn turn(self) -> Result<Turn, Busy> {
        let turns = Arc::clone(&self.hashes.turns);
        let permit = tokio::time::timeout(TURN, turns.acquire_owned()).await;
        let Ok(Ok(permit)) = permit else { return Err(Busy) };
        Ok(Turn { check: self, permit })
    }

    fn is_remembered(&self) -> bool {
        self.hashes.good.contains_key(&self.cache_key())
    }

    fn cache_key(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_keyed(&self.hashes.key);
        let hash = self.hash.to_string();
        for part in [self.id.as_str(), self.secret.expose_secret(), hash.as_str()] {
            hasher.update(&(part.len() as u64).to_le_bytes()).update(part.as_bytes());
        }
        *hasher.finalize().as_bytes()
    }
}

impl Turn {
    /// Returns the client if another request with the same secret has been accepted in the
    /// meantime.
    #[must_use]
    pub fn remembered(&self) -> Option<ClientId> {
        self.check.is_remembered().then(|| self.check.id.clone())
    }

    /// Returns the client if the secret is correct. Takes tens of milliseconds.
    pub async fn check(self) -> Option<ClientId> {
        let checked = tokio::task::spawn_blocking(move || {
            let Self { check, permit } = self;
            let good = {
                let mut memory = check.hashes.memory.lock().unwrap_or_else(PoisonError::into_inner);
                check.hash.verifies(&check.secret, &mut memory)
            };
            if good {
                check.hashes.good.insert(check.cache_key(), ());
            }
            drop(permit);
            good.then_some(check.id)
        });
        checked.await.ok().flatten()
    }
}
