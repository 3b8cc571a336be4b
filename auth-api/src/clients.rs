//! Which program asks, at the endpoints for other services: its id and secret by HTTP Basic,
//! checked against the hashes in `INTROSPECTION_CLIENTS_FILE`.
//!
//! Secrets have 256 random bits, so their hash is a fast one (BLAKE3), which is checked at once.
//! Earlier releases stored argon2id hashes, which take tens of milliseconds and 19 MiB. Those are
//! checked off the reactor, one at a time in one buffer ([`OldHashes`]), and whoever has shown a
//! good secret need not pay for it again for a minute ([`REMEMBERED`]).

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use moka::sync::Cache;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::credentials::clients::{ClientId, Clients};
use crate::credentials::{Argon2Memory, SecretHash};

/// For how long a secret that was good needs no argon2id hash.
const REMEMBERED: Duration = Duration::from_mins(1);
/// Good secrets that are remembered at most.
const MOST_REMEMBERED: u64 = 1024;
/// How long a request waits for its turn to have an argon2id hash computed: a dozen hashes.
const TURN: Duration = Duration::from_secs(1);

/// The clients, and what checks their secrets.
pub struct ClientCheck {
    known: ArcSwap<Clients>,
    old: Arc<OldHashes>,
}

/// What checks argon2id hashes.
struct OldHashes {
    /// Keyed hashes of what was good: id, secret, and the hash that it was checked against.
    good: Cache<[u8; 32], ()>,
    /// Of this process alone.
    key: [u8; 32],
    /// One hash at a time: more would not be computed sooner, and each would take memory of its
    /// own.
    turns: Arc<Semaphore>,
    memory: Mutex<Argon2Memory>,
}

/// What a request presents.
pub struct PresentedSecret {
    /// The client that it says it is.
    pub id: String,
    /// What would prove it.
    pub secret: SecretString,
}

/// What is known at once of what a request presents.
pub enum Recognition {
    /// The secret is this client's.
    Client(ClientId),
    /// There is no such client, or the secret is not its own.
    Nobody,
    /// Only an argon2id hash can tell.
    Old(OldCheck),
}

/// A secret to be checked against an argon2id hash.
pub struct OldCheck {
    hashes: Arc<OldHashes>,
    id: ClientId,
    secret: SecretString,
    hash: SecretHash,
}

/// Too many argon2id hashes are asked for at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no turn to check a client's secret within {} s", TURN.as_secs())]
pub struct Busy;

/// Leave to compute an argon2id hash.
pub struct Turn {
    check: OldCheck,
    permit: OwnedSemaphorePermit,
}

impl ClientCheck {
    /// Of these clients.
    pub fn new(clients: Clients) -> Result<Self, getrandom::Error> {
        let mut key = [0; 32];
        getrandom::fill(&mut key)?;
        let good = Cache::builder().max_capacity(MOST_REMEMBERED).time_to_live(REMEMBERED).build();
        let old =
            OldHashes { good, key, turns: Arc::new(Semaphore::new(1)), memory: Mutex::default() };
        warn_of_old_hashes(&clients);
        Ok(Self { known: ArcSwap::from_pointee(clients), old: Arc::new(old) })
    }

    /// Puts other clients into force, at once.
    pub fn replace(&self, clients: Clients) {
        warn_of_old_hashes(&clients);
        self.known.store(Arc::new(clients));
    }

    /// Knows no clients any more, from now on.
    pub fn close(&self) {
        self.replace(Clients::default());
    }

    /// Who a request is from, as far as that takes microseconds to find out.
    #[must_use]
    pub fn recognise(&self, shown: PresentedSecret) -> Recognition {
        let PresentedSecret { id, secret } = shown;
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
    /// Waits for a turn. Many requests of one client may wait: when a turn comes another one may
    /// have proved the secret.
    pub async fn turn(self) -> Result<Turn, Busy> {
        let turns = Arc::clone(&self.hashes.turns);
        let permit = tokio::time::timeout(TURN, turns.acquire_owned()).await;
        let Ok(Ok(permit)) = permit else { return Err(Busy) };
        Ok(Turn { check: self, permit })
    }

    fn is_remembered(&self) -> bool {
        self.hashes.good.contains_key(&self.mark())
    }

    fn mark(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_keyed(&self.hashes.key);
        let hash = self.hash.to_string();
        for part in [self.id.as_str(), self.secret.expose_secret(), hash.as_str()] {
            hasher.update(&(part.len() as u64).to_le_bytes()).update(part.as_bytes());
        }
        *hasher.finalize().as_bytes()
    }
}

impl Turn {
    /// The client, if another request has proved the same secret meanwhile.
    #[must_use]
    pub fn remembered(&self) -> Option<ClientId> {
        self.check.is_remembered().then(|| self.check.id.clone())
    }

    /// The client, if the secret is its own. Takes tens of milliseconds.
    pub async fn check(self) -> Option<ClientId> {
        let checked = tokio::task::spawn_blocking(move || {
            let Self { check, permit } = self;
            let good = {
                let mut memory = check.hashes.memory.lock().unwrap_or_else(PoisonError::into_inner);
                check.hash.verifies(&check.secret, &mut memory)
            };
            if good {
                check.hashes.good.insert(check.mark(), ());
            }
            drop(permit);
            good.then_some(check.id)
        });
        checked.await.ok().flatten()
    }
}
