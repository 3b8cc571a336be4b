use std::pin::Pin;

use uuid::Uuid;

/// Somebody who knows which sessions were revoked, and is quicker to ask than auth-api itself: the
/// `Denylist` of the feature `redis`, or what you have.
pub trait SessionSource: Send + Sync {
    /// How the session stands. The wait is the request's: it has to be bounded, and what is not
    /// known is [`SessionState::Unknown`].
    fn ask(&self, session_id: Uuid) -> Asking<'_>;
}

/// An answer on its way.
pub type Asking<'a> = Pin<Box<dyn Future<Output = SessionState> + Send + 'a>>;

/// What a [`SessionSource`] says of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionState {
    /// It was not revoked.
    Active,
    /// It was.
    Revoked,
    /// The source cannot say: auth-api is asked.
    Unknown,
}
