//! Sessions: one lifetime and one revocation each, for tokens and cookies alike.

use std::net::IpAddr;
use std::time::Duration;

use chrono::{DateTime, Utc};
use diesel::pg::data_types::PgInterval;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Interval, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use ipnet::IpNet;

use crate::accounts::Account;
use crate::ids::{AccountId, SessionId};
use crate::statement::statement;
use crate::tables::{accounts, sessions, token_families};
use crate::{clock_timestamp, statement_timestamp};

/// Why a session was revoked: the closed set of `sessions.revoked_reason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RevokedReason {
    /// Its owner logged out.
    Logout,
    /// Its owner ended it from another session.
    User,
    /// An operator ended it.
    Admin,
    /// The account had more sessions than `SESSION_LIMIT`.
    Limit,
    /// An old refresh token was presented: somebody has a copy (RFC 9700 §4.14.2).
    Reuse,
    /// A login took its place.
    Superseded,
    /// The account was disabled.
    Disabled,
    /// A resource server revoked its token (RFC 7009).
    Client,
}

impl RevokedReason {
    /// All of them, for metrics that are created at start.
    pub const ALL: [Self; 8] = [
        Self::Logout,
        Self::User,
        Self::Admin,
        Self::Limit,
        Self::Reuse,
        Self::Superseded,
        Self::Disabled,
        Self::Client,
    ];

    /// As it stands in the table.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Logout => "logout",
            Self::User => "user",
            Self::Admin => "admin",
            Self::Limit => "limit",
            Self::Reuse => "reuse",
            Self::Superseded => "superseded",
            Self::Disabled => "disabled",
            Self::Client => "client",
        }
    }
}

/// A session that is to begin. Its times are the database's, after the account's row lock.
#[derive(Clone, Debug)]
pub struct NewSession {
    /// Its id.
    pub id: SessionId,
    /// Whose it is.
    pub account_id: AccountId,
    /// What the client called itself.
    pub user_agent: Option<String>,
    /// Where it came from.
    pub ip: Option<IpAddr>,
    /// How long it lives when it is not used.
    pub ttl: Duration,
    /// How long it lives at the most.
    pub max_age: Duration,
}

/// The times of a session that has begun.
#[derive(Clone, Copy, Debug, Queryable)]
pub struct Begun {
    /// Now, by the database's clock.
    pub created_at: DateTime<Utc>,
    /// When it ends unless it is used.
    pub expires_at: DateTime<Utc>,
    /// When it ends in any case.
    pub absolute_expires_at: DateTime<Utc>,
}

/// A live session with its account, as its owner may see it.
#[derive(Clone, Debug)]
pub struct Session {
    /// Its id.
    pub id: SessionId,
    /// What the client called itself at login.
    pub user_agent: Option<String>,
    /// Where the login came from.
    pub ip: Option<IpAddr>,
    /// The login.
    pub created_at: DateTime<Utc>,
    /// Its last use that was noted: for a token session the last rotation.
    pub last_seen_at: DateTime<Utc>,
    /// When it ends unless it is used.
    pub expires_at: DateTime<Utc>,
    /// Whether it has a token family (else it is a cookie session).
    pub has_tokens: bool,
    /// Whose it is.
    pub account: Account,
}

statement! {
    /// See the file.
    Begin("begin_session.sql") {
        id: SessionId => SqlUuid,
        account_id: AccountId => SqlUuid,
        user_agent: Option<String> => Nullable<Text>,
        ip: Option<IpNet> => Nullable<diesel::sql_types::Inet>,
        ttl: PgInterval => Interval,
        max_age: PgInterval => Interval,
    } -> (Timestamptz, Timestamptz, Timestamptz)
}

statement! {
    /// See the file.
    RevokeBeyond("revoke_beyond_limit.sql") { account_id: AccountId => SqlUuid, newest: SessionId => SqlUuid, others: i64 => BigInt }
        -> (SqlUuid,)
}

statement! {
    /// See the file.
    Extend("extend_session.sql") { ttl: PgInterval => Interval, id: SessionId => SqlUuid, threshold: PgInterval => Interval }
        -> (Timestamptz,)
}

impl NewSession {
    /// Begins it. Must follow [`Account::log_in`] in the same transaction.
    pub async fn insert(self, conn: &mut AsyncPgConnection) -> QueryResult<Begun> {
        Begin {
            id: self.id,
            account_id: self.account_id,
            user_agent: self.user_agent,
            ip: self.ip.map(IpNet::from),
            ttl: interval(self.ttl),
            max_age: interval(self.max_age),
        }
        .get_result(conn)
        .await
    }
}

impl Session {
    /// Ends the account's oldest live sessions, so that `newest` and at most `limit - 1` others stay. Needs the
    /// account's row lock, which is what makes it exact. Returns what it ended.
    pub async fn revoke_beyond_limit(
        conn: &mut AsyncPgConnection,
        account_id: AccountId,
        newest: SessionId,
        limit: u32,
    ) -> QueryResult<Vec<SessionId>> {
        let others = i64::from(limit.saturating_sub(1));
        let rows: Vec<(SessionId,)> = RevokeBeyond { account_id, newest, others }.get_results(conn).await?;
        Ok(rows.into_iter().map(|(id,)| id).collect())
    }

    /// Ends a session. `false`: there is none, or it had been revoked before.
    pub async fn revoke(conn: &mut AsyncPgConnection, id: SessionId, reason: RevokedReason) -> QueryResult<bool> {
        diesel::update(sessions::table.find(id).filter(sessions::revoked_at.is_null()))
            .set((sessions::revoked_at.eq(clock_timestamp().nullable()), sessions::revoked_reason.eq(reason.as_str())))
            .execute(conn)
            .await
            .map(|rows| rows == 1)
    }

    /// Locks the row until the transaction ends. `false`: there is none.
    pub(crate) async fn lock(conn: &mut AsyncPgConnection, id: SessionId) -> QueryResult<bool> {
        sessions::table
            .find(id)
            .select(sessions::id)
            .for_no_key_update()
            .get_result::<SessionId>(conn)
            .await
            .optional()
            .map(|id| id.is_some())
    }

    /// Whether there is such a session and it is neither revoked nor expired.
    pub async fn is_live(conn: &mut AsyncPgConnection, id: SessionId) -> QueryResult<bool> {
        sessions::table
            .find(id)
            .select(sessions::revoked_at.is_null().and(sessions::expires_at.gt(clock_timestamp())))
            .get_result(conn)
            .await
            .optional()
            .map(Option::unwrap_or_default)
    }

    /// The session and its account, if it is live.
    pub async fn find_live(conn: &mut AsyncPgConnection, id: SessionId) -> QueryResult<Option<Self>> {
        type Row = (
            Option<String>,
            Option<IpNet>,
            DateTime<Utc>,
            DateTime<Utc>,
            DateTime<Utc>,
            Option<DateTime<Utc>>,
            bool,
            Account,
        );
        let row: Option<Row> = sessions::table
            .inner_join(accounts::table)
            .left_join(token_families::table)
            .filter(sessions::id.eq(id))
            .select((
                sessions::user_agent,
                sessions::ip,
                sessions::created_at,
                sessions::last_seen_at,
                sessions::expires_at,
                token_families::rotated_at.nullable(),
                // A column, not a filter: with the condition in WHERE, an unprepared query right after a purge makes
                // the planner probe the dead end of the index on expires_at.
                sessions::revoked_at
                    .is_null()
                    .and(sessions::expires_at.gt(clock_timestamp()))
                    .and(accounts::disabled_at.is_null()),
                Account::as_select(),
            ))
            .get_result(conn)
            .await
            .optional()?;
        Ok(row.and_then(|(user_agent, ip, created_at, touched_at, expires_at, rotated_at, live, account)| {
            live.then(|| Self {
                id,
                user_agent,
                ip: ip.map(|net| net.addr()),
                created_at,
                last_seen_at: rotated_at.unwrap_or(touched_at),
                expires_at,
                has_tokens: rotated_at.is_some(),
                account,
            })
        }))
    }

    /// Slides a live session's expiry to `ttl` from now, never past its absolute one, if at least `threshold` is won by
    /// it: so 95 rotations out of 96 write no index. Returns the new expiry, `None` when it stays.
    pub async fn extend(
        conn: &mut AsyncPgConnection,
        id: SessionId,
        ttl: Duration,
        threshold: Duration,
    ) -> QueryResult<Option<DateTime<Utc>>> {
        let extend = Extend { ttl: interval(ttl), id, threshold: interval(threshold) };
        Ok(extend.get_result::<(DateTime<Utc>,)>(conn).await.optional()?.map(|(expires_at,)| expires_at))
    }

    /// The sessions revoked within `window` before now, in pages of at most `page`, each after the last row of the one
    /// before: what the denylist must hold.
    pub async fn revoked_within(
        conn: &mut AsyncPgConnection,
        window: Duration,
        after: Option<(DateTime<Utc>, SessionId)>,
        page: i64,
    ) -> QueryResult<Vec<(DateTime<Utc>, SessionId)>> {
        let query = sessions::table
            .select((sessions::revoked_at.assume_not_null(), sessions::id))
            .order((sessions::revoked_at, sessions::id))
            .limit(page)
            .into_boxed();
        // Each bound is a condition on the index: so a page costs a page.
        let query = match after {
            // statement_timestamp() and not clock_timestamp(), which is volatile and so no condition for an index.
            None => query.filter(
                sessions::revoked_at
                    .gt(statement_timestamp().nullable() - interval(window).into_sql::<Interval>().nullable()),
            ),
            Some((revoked_at, id)) => query.filter(
                sessions::revoked_at.ge(revoked_at).and(sessions::revoked_at.gt(revoked_at).or(sessions::id.gt(id))),
            ),
        };
        query.load(conn).await
    }
}

/// A duration as PostgreSQL counts it, to the microsecond.
fn interval(duration: Duration) -> PgInterval {
    PgInterval::from_microseconds(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX))
}

/// The database's clock.
pub async fn database_now(conn: &mut AsyncPgConnection) -> QueryResult<DateTime<Utc>> {
    diesel::select(clock_timestamp()).get_result(conn).await
}
