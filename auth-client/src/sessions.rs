use std::pin::Pin;

use uuid::Uuid;

/// A source that determines whether a session was revoked, and that is faster than a request to
/// auth-api: `Denylist` (with the feature `redis`), or your own implementation.
pub trait SessionSource: Send + Sync {
    /// Returns the state of a session, or [`SessionState::Unknown`] if the state is not known. The
    /// implementation must limit the time that this takes, because the request that is being
    /// checked waits for the result.
    fn ask(&self, session_id: Uuid) -> Asking<'_>;
}

/// The future that [`SessionSource::ask`] returns.
pub type Asking<'a> = Pin<Box<dyn Future<Output = SessionState> + Send + 'a>>;

/// The state of a session, from a [`SessionSource`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionState {
    /// The session was not revoked.
    Active,
    /// The session was revoked.
    Revoked,
    /// The source cannot determine the state, so auth-api is queried.
    Unknown,
}
