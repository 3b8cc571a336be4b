//! Ends all sessions that match a filter, a limited number in each transaction.

use diesel::QueryResult;
use diesel_async::AsyncPgConnection;
use schema::browse::{Filter, Walk};
use schema::ids::SessionId;
use schema::sessions::{RevokedReason, Session};
use serde::Serialize;
use utoipa::ToSchema;

/// The number of sessions that one transaction ends. With this number, other transactions wait for
/// a locked row for only a few tens of milliseconds, and Redis stores the denylist entries of these
/// sessions within `REDIS_TIMEOUT`.
const CHUNK: usize = 500;

/// The progress of ending the sessions that match a filter. A dry run selects the same sessions,
/// but does not end them.
#[derive(Debug)]
pub(crate) struct Sweep {
    walk: Walk,
    /// Sessions that were found and have not been ended yet.
    found: Vec<SessionId>,
    done: Done,
}

/// The result of a sweep so far.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[schema(as = AdminRevoked)]
pub(crate) struct Done {
    /// The number of sessions that matched.
    pub(crate) matched: usize,
    /// The number of matching sessions that the request ended. It can be lower than `matched`,
    /// because sessions can end in another way in the meantime.
    pub(crate) revoked: usize,
    /// Whether this was a dry run, which ends no session.
    pub(crate) dry_run: bool,
}

impl Done {
    /// Returns the result of a revocation that ended all sessions that matched.
    pub(crate) fn all(sessions: usize) -> Self {
        Self { matched: sessions, revoked: sessions, dry_run: false }
    }
}

impl Sweep {
    /// Creates a sweep over the sessions that match `filter`.
    pub(crate) fn new(filter: Filter, dry_run: bool) -> Self {
        Self {
            walk: Walk::new(filter),
            found: Vec::new(),
            done: Done { matched: 0, revoked: 0, dry_run },
        }
    }

    /// Returns the result so far.
    pub(crate) fn done(&self) -> Done {
        self.done
    }

    /// Ends a chunk (at most [`CHUNK`]) of the sessions that an earlier step found. If none of them
    /// is left, reads the next key range of the table instead. Returns the sessions that this step
    /// ended, or `None` if the whole table has been read and no session is left to end. The caller
    /// must add the returned sessions to the denylist.
    pub(crate) async fn step(
        &mut self,
        conn: &mut AsyncPgConnection,
    ) -> QueryResult<Option<Vec<SessionId>>> {
        if self.found.is_empty() {
            let Some(found) = self.walk.next(conn).await? else { return Ok(None) };
            self.done.matched += found.len();
            if !self.done.dry_run {
                self.found = found;
            }
            return Ok(Some(Vec::new()));
        }
        let rest = self.found.split_off(CHUNK.min(self.found.len()));
        let chunk = std::mem::replace(&mut self.found, rest);
        let ended = Session::revoke_many(conn, chunk, RevokedReason::Admin).await?;
        self.done.revoked += ended.len();
        Ok(Some(ended))
    }
}
