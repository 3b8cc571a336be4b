//! The tokens of cookie sessions: the current one, and the one before it, which stays good for a
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

/// What is stored of a cookie session's tokens.
#[derive(Clone, Debug)]
pub struct CookieTokens {
    /// The hash of the current token.
    pub current: TokenHash,
    /// The token before it; `None` before the first renewal.
    pub previous: Option<PreviousToken>,
}

/// The token that a renewal replaced.
#[derive(Clone, Debug)]
pub struct PreviousToken {
    /// Its hash.
    pub hash: TokenHash,
    /// Until when it is good.
    pub good_until: DateTime<Utc>,
    /// The current token, sealed for whoever has this one.
    pub sealed_successor: Vec<u8>,
}

/// A step from one cookie token to the next, together with the session's expiry.
#[derive(Clone, Debug)]
pub struct CookieRenewal {
    /// The session.
    pub session_id: SessionId,
    /// The hash of the token that was presented.
    pub presented: TokenHash,
    /// The hash of the new token.
    pub successor: TokenHash,
    /// The new token, sealed for whoever has the presented one.
    pub sealed_successor: Vec<u8>,
    /// How long the session lives from now on when it is not used.
    pub ttl: Duration,
    /// The least that the expiry must gain.
    pub threshold: Duration,
}

/// The times of a session that was renewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Queryable)]
pub struct Renewed {
    /// When it ends unless it is used.
    pub expires_at: DateTime<Utc>,
    /// The database's time.
    pub now: DateTime<Utc>,
}

statement! {
    /// See the file.
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
    /// See the file.
    Confirm("confirm_cookie.sql") {
        grace: PgInterval => Interval,
        session_id: SessionId => SqlUuid,
        current: TokenHash => Bytea,
    } -> (Timestamptz,)
}

impl CookieRenewal {
    /// Slides the session's expiry and replaces its token, if the presented one is the current one,
    /// no earlier one is still good, and the expiry gains at least the threshold. `None`: it
    /// stays as it is.
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
    /// Notes that the current token has been presented: the one before it is good for `grace` more
    /// at the most.
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

/// Bounds the waits of a transaction for locks. A reading request makes such a write on its way,
/// and the next one can make it as well.
async fn wait_briefly(conn: &mut AsyncPgConnection) -> QueryResult<()> {
    diesel::sql_query("SET LOCAL lock_timeout = '250ms'").execute(conn).await.map(drop)
}
