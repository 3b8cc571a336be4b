//! Sessions: one lifetime and one revocation each, for tokens and cookies alike.

use std::net::IpAddr;
use std::sync::OnceLock;
use std::time::Duration;

use chrono::{DateTime, Utc};
use diesel::pg::data_types::PgInterval;
use diesel::prelude::*;
use diesel::sql_types::{
    Array, BigInt, Bool, Bytea, Interval, Nullable, Text, Timestamptz, Uuid as SqlUuid,
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use ipnet::IpNet;

use crate::accounts::Account;
use crate::cookies::{CookieTokens, PreviousToken};
use crate::families::Family;
use crate::ids::{AccountId, SessionId, TokenHash};
use crate::interval::interval;
use crate::statement::{BySession, statement};
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
    /// Of its cookie; `None` for a session that gets a token family.
    pub token_hash: Option<TokenHash>,
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
    /// When it ends in any case.
    pub absolute_expires_at: DateTime<Utc>,
    /// Of a session that a cookie carries.
    pub cookie: Option<CookieTokens>,
    /// Of a session that has no cookie.
    pub family: Option<Family>,
    /// The database's time.
    pub now: DateTime<Utc>,
    /// Whose it is.
    pub account: Account,
}

/// The times of a session that its clients are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShownTimes {
    /// Its last use.
    pub last_seen_at: DateTime<Utc>,
    /// When it ends unless it is used.
    pub expires_at: DateTime<Utc>,
}

/// A session that a login ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Its id.
    pub id: SessionId,
    /// [`RevokedReason::Superseded`] or [`RevokedReason::Limit`].
    pub reason: RevokedReason,
}

statement! {
    /// See the file.
    Begin("begin_session.sql") {
        id: SessionId => SqlUuid,
        account_id: AccountId => SqlUuid,
        token_hash: Option<TokenHash> => Nullable<Bytea>,
        user_agent: Option<String> => Nullable<Text>,
        ip: Option<IpNet> => Nullable<diesel::sql_types::Inet>,
        ttl: PgInterval => Interval,
        max_age: PgInterval => Interval,
    } -> (Timestamptz, Timestamptz, Timestamptz)
}

statement! {
    /// See the file.
    EnforceSessionLimit("enforce_session_limit.sql") {
        replaced: Option<SessionId> => Nullable<SqlUuid>,
        replaced_hash: Option<TokenHash> => Nullable<Bytea>,
        account_id: AccountId => SqlUuid,
        newest: SessionId => SqlUuid,
        others: i64 => BigInt,
    } -> (SqlUuid, Bool)
}

statement! {
    /// See the file.
    RevokeAll("revoke_all.sql") {
        reason: &'static str => Text,
        account_id: AccountId => SqlUuid,
        but: Option<SessionId> => Nullable<SqlUuid>,
    } -> (SqlUuid,)
}

statement! {
    /// See the file.
    Touch("touch_sessions.sql") { ids: Vec<SessionId> => Array<SqlUuid>, pause: PgInterval => Interval } -> (SqlUuid,)
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
            token_hash: self.token_hash,
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
    /// When its owner authenticated: the login that began it.
    #[must_use]
    pub fn authenticated_at(&self) -> DateTime<Utc> {
        self.created_at
    }

    /// Ends the session that `newest` takes the place of (its id, and the hash of its cookie) and
    /// the account's oldest live ones, so that `newest` and at most `limit - 1` others stay.
    /// Needs the account's row lock, which is what makes it exact. Returns what it ended.
    pub async fn enforce_session_limit(
        conn: &mut AsyncPgConnection,
        account_id: AccountId,
        newest: SessionId,
        replaced: Option<(SessionId, TokenHash)>,
        limit: u32,
    ) -> QueryResult<Vec<Ended>> {
        let others = i64::from(limit.saturating_sub(1));
        let (replaced, replaced_hash) = replaced.unzip();
        let room = EnforceSessionLimit { replaced, replaced_hash, account_id, newest, others };
        let rows: Vec<(SessionId, bool)> = room.get_results(conn).await?;
        let reason =
            |superseded| if superseded { RevokedReason::Superseded } else { RevokedReason::Limit };
        Ok(rows
            .into_iter()
            .map(|(id, superseded)| Ended { id, reason: reason(superseded) })
            .collect())
    }

    /// Ends all live sessions of an account but one. Needs the account's row lock, so that no login
    /// slips through. Returns what it ended.
    pub async fn revoke_all(
        conn: &mut AsyncPgConnection,
        account_id: AccountId,
        but: Option<SessionId>,
        reason: RevokedReason,
    ) -> QueryResult<Vec<SessionId>> {
        let revoke = RevokeAll { reason: reason.as_str(), account_id, but };
        let rows: Vec<(SessionId,)> = revoke.get_results(conn).await?;
        Ok(rows.into_iter().map(|(id,)| id).collect())
    }

    /// Ends a live session if it is this account's. `false`: it is not, or there is none.
    pub async fn revoke_own(
        conn: &mut AsyncPgConnection,
        id: SessionId,
        account_id: AccountId,
    ) -> QueryResult<bool> {
        let own = sessions::account_id.eq(account_id);
        let live = sessions::revoked_at.is_null().and(sessions::expires_at.gt(clock_timestamp()));
        diesel::update(sessions::table.find(id).filter(own).filter(live))
            .set((
                sessions::revoked_at.eq(clock_timestamp().nullable()),
                sessions::revoked_reason.eq(RevokedReason::User.as_str()),
            ))
            .execute(conn)
            .await
            .map(|rows| rows == 1)
    }

    /// Whether its last rotation is younger than `span`.
    #[must_use]
    pub fn rotated_within(&self, span: Duration) -> bool {
        let span = chrono::Duration::from_std(span).unwrap_or(chrono::Duration::MAX);
        self.family
            .is_some_and(|family| family.generation > 0 && self.now - family.rotated_at < span)
    }

    /// What clients are shown of its times: those of before the last rotation while that is younger
    /// than `span`. Otherwise somebody with a copy of an older token could see that it has a
    /// successor, and ask for that in time.
    #[must_use]
    pub fn shown_times(&self, span: Duration) -> ShownTimes {
        let times = ShownTimes { last_seen_at: self.last_seen_at, expires_at: self.expires_at };
        let before =
            self.family.filter(|_| self.rotated_within(span)).and_then(|family| family.before());
        before.map_or(times, |before| ShownTimes {
            last_seen_at: before.rotated_at.unwrap_or(self.created_at),
            // A session that lives on is not shown as expired.
            expires_at: before
                .expires_at
                .filter(|at| *at > self.now)
                .unwrap_or(times.expires_at)
                .min(times.expires_at),
        })
    }

    /// Notes that live sessions were used, for those whose last use was noted at least `pause` ago.
    /// Returns which.
    pub async fn touch(
        conn: &mut AsyncPgConnection,
        ids: Vec<SessionId>,
        pause: Duration,
    ) -> QueryResult<Vec<SessionId>> {
        let rows: Vec<(SessionId,)> =
            Touch { ids, pause: interval(pause) }.get_results(conn).await?;
        Ok(rows.into_iter().map(|(id,)| id).collect())
    }

    /// Ends a session. `false`: there is none, or it had been revoked before.
    pub async fn revoke(
        conn: &mut AsyncPgConnection,
        id: SessionId,
        reason: RevokedReason,
    ) -> QueryResult<bool> {
        diesel::update(sessions::table.find(id).filter(sessions::revoked_at.is_null()))
            .set((
                sessions::revoked_at.eq(clock_timestamp().nullable()),
                sessions::revoked_reason.eq(reason.as_str()),
            ))
            .execute(conn)
            .await
            .map(|rows| rows == 1)
    }

    /// Whether there is such a session, neither it nor its account has been ended, and it has not
    /// expired.
    pub async fn is_live(conn: &mut AsyncPgConnection, id: SessionId) -> QueryResult<bool> {
        sessions::table
            .inner_join(accounts::table)
            .filter(sessions::id.eq(id))
            .select(live())
            .get_result(conn)
            .await
            .optional()
            .map(Option::unwrap_or_default)
    }

    /// The session and its account, if it is live.
    pub async fn find_live(
        conn: &mut AsyncPgConnection,
        id: SessionId,
    ) -> QueryResult<Option<Self>> {
        // Liveness is a column, not a filter: with the condition in WHERE, an unprepared query
        // right after a purge makes the planner probe the dead end of the index on
        // expires_at.
        static TEXT: OnceLock<String> = OnceLock::new();
        let query = sessions::table
            .inner_join(accounts::table)
            .left_join(token_families::table)
            .filter(sessions::id.eq(id))
            .select((Row::as_select(), live()));
        let row: Option<(Row, bool)> =
            BySession::new(&TEXT, id, &query)?.get_result(conn).await.optional()?;
        Ok(row.and_then(|(row, live)| live.then(|| row.into())))
    }

    /// The account's live sessions, newest first, `limit` at the most.
    pub async fn list(
        conn: &mut AsyncPgConnection,
        account_id: AccountId,
        limit: i64,
    ) -> QueryResult<Vec<Self>> {
        let rows: Vec<Row> = sessions::table
            .inner_join(accounts::table)
            .left_join(token_families::table)
            .filter(sessions::account_id.eq(account_id))
            .filter(live())
            .order((sessions::created_at.desc(), sessions::id.desc()))
            .limit(limit)
            .select(Row::as_select())
            .load(conn)
            .await?;
        Ok(rows.into_iter().map(Self::from).collect())
    }

    /// Sessions of an account that were revoked within `window` before now, whatever for: what a
    /// denylist must hold of it.
    pub async fn revoked_of(
        conn: &mut AsyncPgConnection,
        account_id: AccountId,
        window: Duration,
    ) -> QueryResult<Vec<SessionId>> {
        sessions::table
            .filter(sessions::account_id.eq(account_id))
            .filter(sessions::revoked_at.gt(statement_timestamp().nullable()
                - interval(window).into_sql::<Interval>().nullable()))
            .select(sessions::id)
            .load(conn)
            .await
    }

    /// Slides a live session's expiry to `ttl` from now, never past its absolute one, if at least
    /// `threshold` is won by it: so 95 rotations out of 96 write no index. Returns the new
    /// expiry, `None` when it stays.
    pub async fn extend(
        conn: &mut AsyncPgConnection,
        id: SessionId,
        ttl: Duration,
        threshold: Duration,
    ) -> QueryResult<Option<DateTime<Utc>>> {
        let extend = Extend { ttl: interval(ttl), id, threshold: interval(threshold) };
        Ok(extend
            .get_result::<(DateTime<Utc>,)>(conn)
            .await
            .optional()?
            .map(|(expires_at,)| expires_at))
    }

    /// The sessions revoked within `window` before now, in pages of at most `page`, each after the
    /// last row of the one before: what the denylist must hold.
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
            // statement_timestamp() and not clock_timestamp(), which is volatile and so no
            // condition for an index.
            None => query.filter(sessions::revoked_at.gt(statement_timestamp().nullable()
                - interval(window).into_sql::<Interval>().nullable())),
            Some((revoked_at, id)) => query.filter(
                sessions::revoked_at
                    .ge(revoked_at)
                    .and(sessions::revoked_at.gt(revoked_at).or(sessions::id.gt(id))),
            ),
        };
        query.load(conn).await
    }
}

/// Whether a session joined with its account stands, by the database's clock.
#[diesel::dsl::auto_type]
pub(crate) fn live() -> _ {
    sessions::revoked_at
        .is_null()
        .and(sessions::expires_at.gt(clock_timestamp()))
        .and(accounts::disabled_at.is_null())
}

/// A session as it is read, with its account and the last rotation of its family.
#[derive(Queryable, Selectable)]
#[diesel(table_name = sessions)]
pub(crate) struct Row {
    id: SessionId,
    user_agent: Option<String>,
    ip: Option<IpNet>,
    created_at: DateTime<Utc>,
    last_seen_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
    absolute_expires_at: DateTime<Utc>,
    token_hash: Option<TokenHash>,
    previous_hash: Option<TokenHash>,
    previous_until: Option<DateTime<Utc>>,
    sealed_successor: Option<Vec<u8>>,
    #[diesel(embed)]
    family: Option<Family>,
    #[diesel(select_expression = clock_timestamp())]
    now: DateTime<Utc>,
    #[diesel(embed)]
    account: Account,
}

impl From<Row> for Session {
    fn from(row: Row) -> Self {
        let previous = row.previous_hash.zip(row.previous_until).zip(row.sealed_successor);
        let previous = previous.map(|((hash, good_until), sealed_successor)| PreviousToken {
            hash,
            good_until,
            sealed_successor,
        });
        Self {
            id: row.id,
            user_agent: row.user_agent,
            ip: row.ip.map(|net| net.addr()),
            created_at: row.created_at,
            last_seen_at: row.family.map_or(row.last_seen_at, |family| family.rotated_at),
            expires_at: row.expires_at,
            absolute_expires_at: row.absolute_expires_at,
            cookie: row.token_hash.map(|current| CookieTokens { current, previous }),
            family: row.family,
            now: row.now,
            account: row.account,
        }
    }
}

/// The database's clock.
pub async fn database_now(conn: &mut AsyncPgConnection) -> QueryResult<DateTime<Utc>> {
    diesel::select(clock_timestamp()).get_result(conn).await
}
