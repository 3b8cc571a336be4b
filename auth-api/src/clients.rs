//! Which program asks, at the endpoints for other services: its id and secret by HTTP Basic, checked against argon2id hashes.
//!
//! Such a hash is made to be slow: tens of milliseconds and 19 MiB. So it is computed off the reactor, so many at once as
//! half of the cores, and whoever has shown a good secret need not pay for it again for a minute ([`REMEMBERED`]). A client
//! that is not there costs the same as one with a wrong secret.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use argon2::password_hash::PasswordHashString;
use moka::sync::Cache;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::credentials::clients::{self, ClientId, Clients};
use crate::credentials::random_word;

/// For how long a secret that was good needs no hash.
const REMEMBERED: Duration = Duration::from_mins(1);
/// Good secrets that are remembered at the most.
const MOST_REMEMBERED: u64 = 1024;
/// How long a request waits for its turn to have a hash computed: a dozen hashes.
const TURN: Duration = Duration::from_secs(1);

/// The clients, and who of them was here lately.
pub struct ClientCheck {
    known: ArcSwap<Clients>,
    /// Keyed hashes of what was good: id, secret, and the hash that it was checked against.
    good: Cache<[u8; 32], ()>,
    /// Of this process alone.
    key: [u8; 32],
    turns: Arc<Semaphore>,
    nobody: OnceLock<Option<PasswordHashString>>,
}

/// What a request shows.
pub struct Shown {
    /// The client that it says it is.
    pub id: String,
    /// And what would prove it.
    pub secret: SecretString,
}

/// Too many hashes are asked for at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no turn to check a client's secret within {} s", TURN.as_secs())]
pub struct Busy;

/// Leave to compute a hash.
pub struct Turn {
    clients: Arc<ClientCheck>,
    permit: OwnedSemaphorePermit,
}

impl Turn {
    /// Whether the secret is that client's. Takes tens of milliseconds.
    pub async fn check(self, shown: Shown) -> Option<ClientId> {
        let checked = tokio::task::spawn_blocking(move || {
            let Self { clients, permit } = self;
            let id = clients.check(&shown);
            drop(permit);
            id
        });
        checked.await.ok().flatten()
    }
}

impl ClientCheck {
    /// Of these clients.
    pub fn new(clients: Clients) -> Result<Self, getrandom::Error> {
        let mut key = [0; 32];
        getrandom::fill(&mut key)?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Ok(Self {
            known: ArcSwap::from_pointee(clients),
            good: Cache::builder().max_capacity(MOST_REMEMBERED).time_to_live(REMEMBERED).build(),
            key,
            turns: Arc::new(Semaphore::new(cores.div_ceil(2))),
            nobody: OnceLock::new(),
        })
    }

    /// Puts other clients into force, at once.
    pub fn replace(&self, clients: Clients) {
        self.known.store(Arc::new(clients));
    }

    /// Whether this was shown before, a moment ago, and still holds: costs nothing to tell.
    #[must_use]
    pub fn is_remembered(&self, shown: &Shown) -> bool {
        let known = self.known.load();
        known.hash_of(&shown.id).is_some_and(|hash| self.good.contains_key(&self.mark(shown, hash)))
    }

    /// Waits for a turn to check a secret. Many may wait whose client is the same: look once more whether it
    /// [is remembered](Self::is_remembered) by then.
    pub async fn turn(self: &Arc<Self>) -> Result<Turn, Busy> {
        let permit = tokio::time::timeout(TURN, Arc::clone(&self.turns).acquire_owned()).await;
        let Ok(Ok(permit)) = permit else { return Err(Busy) };
        Ok(Turn { clients: Arc::clone(self), permit })
    }

    fn check(&self, shown: &Shown) -> Option<ClientId> {
        let known = self.known.load();
        // Where there are no clients there is nothing to hide.
        if known.count() == 0 {
            return None;
        }
        let hash = known.hash_of(&shown.id);
        // With nobody's hash, so that the time does not tell whether there is such a client.
        let against = hash.or_else(|| self.nobody())?;
        let good = clients::is_secret_of(&shown.secret, &against.password_hash());
        let (hash, id) = (hash.filter(|_| good)?, ClientId::parse(&shown.id).ok()?);
        self.good.insert(self.mark(shown, hash), ());
        Some(id)
    }

    fn nobody(&self) -> Option<&PasswordHashString> {
        self.nobody.get_or_init(|| clients::hash(&random_word().ok()?).ok()).as_ref()
    }

    fn mark(&self, shown: &Shown, hash: &PasswordHashString) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        for part in [shown.id.as_bytes(), shown.secret.expose_secret().as_bytes(), hash.as_str().as_bytes()] {
            hasher.update(&(part.len() as u64).to_le_bytes()).update(part);
        }
        *hasher.finalize().as_bytes()
    }
}
