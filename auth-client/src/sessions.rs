use std::pin::Pin;

use uuid::Uuid;

/// A source of revoked sessions that is faster than auth-api itself: the `Denylist` of the feature
/// `redis`, or your own implementation.
pub trait SessionSource: Send + Sync {
    /// Returns the state of a session. The request waits for the result, so the method must return
    /// the result within a limited time. If the state is not known, return
    /// [`SessionState::Unknown`].
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
