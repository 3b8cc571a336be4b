//! A cache of the keys of token families (the refresh tokens of one session) that this process has
//! used, so that a rotation (the replacement of a refresh token) or a logout does not need to read
//! them from the database first.

use std::time::Duration;

use moka::sync::Cache;
use schema::ids::SessionId;
use schema::issued::FamilyKey;

/// The maximum number of keys. That many keys take about 10 MB.
const CAPACITY: u64 = 50_000;
/// The time after which an unused key is dropped. Clients refresh when their access token expires,
/// which is after at most half an hour. If this process has not used a key for an hour, the
/// requests of that session probably reach another process.
const TIME_TO_IDLE: Duration = Duration::from_hours(1);

/// A bounded cache. A key never changes, so an entry is never outdated. The statement that rotates
/// a token checks whether the family still exists and which token is current.
pub struct FamilyKeys(Cache<SessionId, FamilyKey>);

impl Default for FamilyKeys {
    fn default() -> Self {
        Self(Cache::builder().max_capacity(CAPACITY).time_to_idle(TIME_TO_IDLE).build())
    }
}

impl FamilyKeys {
    /// Returns the key of the session's family if it is cached.
    #[must_use]
    pub fn get(&self, id: SessionId) -> Option<FamilyKey> {
        self.0.get(&id)
    }

    /// Caches the key of a family. Even if there are many new logins, their keys do not evict the
    /// keys that are used often (the eviction policy is `TinyLFU`).
    pub fn keep(&self, id: SessionId, key: FamilyKey) {
        self.0.insert(id, key);
    }
}
