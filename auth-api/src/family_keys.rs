//! Keys of token families that this process has used, so that a rotation or a logout need not read
//! them first.

use std::time::Duration;

use moka::sync::Cache;
use schema::ids::SessionId;
use schema::issued::FamilyKey;

/// Keys at most: about 10 MB.
const CAPACITY: u64 = 50_000;
/// Clients refresh when their access token expires. A family that has been idle for longer is
/// probably used elsewhere.
const TIME_TO_IDLE: Duration = Duration::from_hours(1);

/// A bounded cache. A key never changes, so an entry is never out of date: whether the family still
/// exists, and which token is current, is decided by the rotation itself.
pub struct FamilyKeys(Cache<SessionId, FamilyKey>);

impl Default for FamilyKeys {
    fn default() -> Self {
        Self(Cache::builder().max_capacity(CAPACITY).time_to_idle(TIME_TO_IDLE).build())
    }
}

impl FamilyKeys {
    /// The key of the session's family, if it is known.
    #[must_use]
    pub fn get(&self, id: SessionId) -> Option<FamilyKey> {
        self.0.get(&id)
    }

    /// Keeps the key of a family. Keys that are used often are not displaced by those of many new
    /// logins (`TinyLFU`).
    pub fn keep(&self, id: SessionId, key: FamilyKey) {
        self.0.insert(id, key);
    }
}
