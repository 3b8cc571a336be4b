//! Ends sessions for those who hold one of their tokens: the row, the denylist, the metric and the audit event.

use schema::cookies::{self, Ending};
use schema::ids::SessionId;
use schema::sessions::{RevokedReason, Session};

use crate::audit::{self, By};
use crate::credentials::SessionToken;
use crate::http::Client;
use crate::metrics;
use crate::state::{DatabaseError, State, timed};

/// Why a session ends, and for whom.
pub(crate) struct Revocation<'r> {
    pub(crate) client: &'r Client,
    pub(crate) reason: RevokedReason,
    pub(crate) by: &'r By,
}

impl Revocation<'_> {
    /// Ends the session and denies it, also when it had ended before: the denial may have been what was missing.
    pub(crate) async fn end(&self, state: &State, session_id: SessionId) -> Result<(), DatabaseError> {
        let revoked = {
            let mut connection = state.database.acquire().await?;
            let watch = connection.watch();
            timed(watch, "revoke_session", Session::revoke(&mut connection, session_id, self.reason)).await
        };
        let ended = revoked.inspect_err(|_| state.denylist.doubt())?;
        self.follow(state, session_id, ended).await;
        Ok(())
    }

    /// [`Self::end`] by a cookie token, if that was given out for the session and not merely made with `AUTH_SECRET`.
    pub(crate) async fn end_by_cookie(&self, state: &State, token: &SessionToken) -> Result<Ending, DatabaseError> {
        let session_id = token.session_id();
        let ending = {
            let mut connection = state.database.acquire().await?;
            let watch = connection.watch();
            let end = cookies::end_by_cookie(&mut connection, session_id, token.hash(), self.reason);
            timed(watch, "revoke_by_cookie", end).await
        };
        let ending = ending.inspect_err(|_| state.denylist.doubt())?;
        if ending != Ending::NotTheirs {
            self.follow(state, session_id, ending == Ending::Ended).await;
        }
        Ok(ending)
    }

    async fn follow(&self, state: &State, session_id: SessionId, ended: bool) {
        state.denylist.deny(&[session_id]).await;
        if ended {
            metrics::count_revoked(self.reason, 1);
            audit::revoke(Some(self.client), session_id, self.by, self.reason);
        }
    }
}
