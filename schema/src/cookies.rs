//! Tokens of cookie sessions: the current token, and the previous token, which remains valid for a
//! while.

use std::time::Duration;

use chrono::{DateTime, Utc};
use diesel::pg::data_types::PgInterval;
use diesel::prelude::*;
use diesel::sql_types::{Bytea, Interval, Timestamptz, Uuid as SqlUuid};
use diesel_async::{AsyncConnection as _, AsyncPgConnection, RunQueryDsl};

use crate::ids::{SessionId, TokenHash};
use crate::interval::interval;
use crate::statement::statement;

/// The stored tokens of a cookie session.
#[derive(Clone, Debug)]
pub struct CookieTokens {
    /// Hash of the current token.
    pub current: TokenHash,
    /// The previous token; `None` before the first renewal.
    pub previous: Option<PreviousToken>,
}

/// A token that a renewal replaced.
#[derive(Clone, Debug)]
pub struct PreviousToken {
    /// Hash of the token.
    pub hash: TokenHash,
    /// The time from which the token is invalid.
    pub good_until: DateTime<Utc>,
    /// The current token, encrypted so that only the holder of this previous token can obtain it.
    pub sealed_successor: Vec<u8>,
}

/// A renewal: replaces a cookie token and extends the session.
#[derive(Clone, Debug)]
pub struct CookieRenewal {
    /// Id of the session.
    pub session_id: SessionId,
    /// Hash of the token that was presented.
    pub presented: TokenHash,
    /// Hash of the new token.
    pub successor: TokenHash,
    /// The new token, encrypted so that only the holder of the presented token can obtain it.
    pub sealed_successor: Vec<u8>,
    /// From now on, the session expires if it is not used for this long.
    pub ttl: Duration,
    /// The session is renewed only if this extends its expiry by at least this time.
    pub threshold: Duration,
}

/// The times of a renewed session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Queryable)]
pub struct Renewed {
    /// When the session expires unless it is used.
    pub expires_at: DateTime<Utc>,
    /// The database's time.
    pub now: DateTime<Utc>,
}

statement! {
    /// The statement in the SQL file, which describes it.
    Renew("renew_cookie.sql") {
        successor: TokenHash => Bytea,
        sealed_successor: Vec<u8> => Bytea,
        ttl: PgInterval => Interval,
        session_id: SessionId => SqlUuid,
        presented: TokenHash => Bytea,
        threshold: PgInterval => Interval,
    } -> (Timestamptz, Timestamptz)
}

statement! {
    /// The statement in the SQL file, which describes it.
    Confirm("confirm_cookie.sql") {
        grace: PgInterval => Interval,
        session_id: SessionId => SqlUuid,
        current: TokenHash => Bytea,
    } -> (Timestamptz,)
}

impl CookieRenewal {
    /// Extends the session and replaces its token, if the presented token is the current token, no
    /// previous token is still valid, and the renewal extends the session by at least the
    /// threshold. Otherwise changes nothing and returns `None`.
    pub async fn apply(self, conn: &mut AsyncPgConnection) -> QueryResult<Option<Renewed>> {
        let renew = Renew {
            successor: self.successor,
            sealed_successor: self.sealed_successor,
            ttl: interval(self.ttl),
            session_id: self.session_id,
            presented: self.presented,
            threshold: interval(self.threshold),
        };
        conn.transaction(async |conn| {
            wait_briefly(conn).await?;
            renew.get_result(conn).await.optional()
        })
        .await
    }
}

impl CookieTokens {
    /// Records that the current token has been presented. From now on, the previous token remains
    /// valid for at most `grace`.
    pub async fn confirm(
        &self,
        conn: &mut AsyncPgConnection,
        id: SessionId,
        grace: Duration,
    ) -> QueryResult<()> {
        let confirm = Confirm { grace: interval(grace), session_id: id, current: self.current };
        conn.transaction(async |conn| {
            wait_briefly(conn).await?;
            confirm.get_result::<(DateTime<Utc>,)>(conn).await.optional().map(drop)
        })
        .await
    }
}

/// Limits the time that a transaction waits for locks. The writes in this module occur during
/// requests that otherwise only read. If a write fails, the next request can repeat it.
async fn wait_briefly(conn: &mut AsyncPgConnection) -> QueryResult<()> {
    diesel::sql_query("SET LOCAL lock_timeout = '250ms'").execute(conn).await.map(drop)
}
