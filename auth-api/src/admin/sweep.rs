//! Ending all sessions that match, however many they are, a bounded number in a transaction.

use diesel::QueryResult;
use diesel_async::AsyncPgConnection;
use schema::browse::{Filter, Walk};
use schema::ids::SessionId;
use schema::sessions::{RevokedReason, Session};
use serde::Serialize;
use utoipa::ToSchema;

/// Sessions in a transaction: some tens of milliseconds for those who wait for one of their rows,
/// and a pipeline that Redis has done within `REDIS_TIMEOUT`.
const CHUNK: usize = 500;

/// Goes through what matches, and ends it unless it is a dry run: both see the same.
#[derive(Debug)]
pub(crate) struct Sweep {
    walk: Walk,
    /// Found, and not ended yet.
    found: Vec<SessionId>,
    done: Done,
}

/// What a sweep has done until now.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[schema(as = AdminRevoked)]
pub(crate) struct Done {
    /// Sessions that matched.
    pub(crate) matched: usize,
    /// Of these, what it ended: others may have ended by themselves meanwhile.
    pub(crate) revoked: usize,
    /// It ends nothing.
    pub(crate) dry_run: bool,
}

impl Done {
    /// All that matched was ended.
    pub(crate) fn all(sessions: usize) -> Self {
        Self { matched: sessions, revoked: sessions, dry_run: false }
    }
}

impl Sweep {
    /// Has done nothing yet.
    pub(crate) fn new(filter: Filter, dry_run: bool) -> Self {
        Self {
            walk: Walk::new(filter),
            found: Vec::new(),
            done: Done { matched: 0, revoked: 0, dry_run },
        }
    }

    /// What it has done until now.
    pub(crate) fn done(&self) -> Done {
        self.done
    }

    /// Looks at a stretch of the table, or ends a chunk of what was found there. Returns what it
    /// ended, which is to be denied; `None`: there is nothing left.
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
