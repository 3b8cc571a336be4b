//! Sessions. A session uses either tokens or a cookie. Both kinds expire and are revoked in the
//! same way.

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

/// The reason for which a session was revoked. `sessions.revoked_reason` contains it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum RevokedReason {
    /// The owner logged out.
    Logout,
    /// The owner ended the session from another session.
    User,
    /// An operator revoked the session.
    Admin,
    /// The account had more sessions than `SESSION_LIMIT`.
    Limit,
    /// An old refresh token was presented, so the token was probably copied (RFC 9700 §4.14.2).
    Reuse,
    /// A login replaced the session.
    Superseded,
    /// The account was disabled.
    Disabled,
    /// A resource server revoked a token of the session (RFC 7009).
    Client,
}

impl RevokedReason {
    /// All reasons, for metrics that are created at startup.
    pub const ALL: &'static [Self] = <Self as strum::VariantArray>::VARIANTS;

    /// Returns the value for `sessions.revoked_reason`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// A session to be created. The times of the session are read from the database's clock after the
/// account's row has been locked.
#[derive(Clone, Debug)]
pub struct NewSession {
    /// Id of the session.
    pub id: SessionId,
    /// Id of the account.
    pub account_id: AccountId,
    /// Hash of the cookie token, or `None` if the session uses refresh tokens.
    pub token_hash: Option<TokenHash>,
    /// User agent of the client.
    pub user_agent: Option<String>,
    /// Address that the login came from.
    pub ip: Option<IpAddr>,
    /// How long the session may be unused before it expires.
    pub ttl: Duration,
    /// How long after the login the session expires, even if it is used.
    pub max_age: Duration,
}

/// The times of a new session.
#[derive(Clone, Copy, Debug, Queryable)]
pub struct Begun {
    /// When the session started, by the database's clock.
    pub created_at: DateTime<Utc>,
    /// When the session expires unless it is used.
    pub expires_at: DateTime<Utc>,
    /// When the session expires at the latest.
    pub absolute_expires_at: DateTime<Utc>,
}

/// A live session and its account.
#[derive(Clone, Debug)]
pub struct Session {
    /// Id of the session.
    pub id: SessionId,
    /// User agent of the client at login.
    pub user_agent: Option<String>,
    /// Address that the login came from.
    pub ip: Option<IpAddr>,
    /// When the owner logged in.
    pub created_at: DateTime<Utc>,
    /// The last recorded time of use. For a token session, this is the time of the last rotation
    /// (the last refresh).
    pub last_seen_at: DateTime<Utc>,
    /// When the session expires unless it is used.
    pub expires_at: DateTime<Utc>,
    /// When the session expires at the latest.
    pub absolute_expires_at: DateTime<Utc>,
    /// Tokens of a cookie session; `None` for a token session.
    pub cookie: Option<CookieTokens>,
    /// Family of a token session; `None` for a cookie session.
    pub family: Option<Family>,
    /// The database's time.
    pub now: DateTime<Utc>,
    /// The account of the session.
    pub account: Account,
}

/// The times of a session that are shown to clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShownTimes {
    /// When the session was last used.
    pub last_seen_at: DateTime<Utc>,
    /// When the session expires unless it is used.
    pub expires_at: DateTime<Utc>,
}

/// A session that a login ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Id of the session.
    pub id: SessionId,
    /// [`RevokedReason::Superseded`] or [`RevokedReason::Limit`].
    pub reason: RevokedReason,
}

statement! {
    /// The statement in the SQL file, which describes it.
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
    /// The statement in the SQL file, which describes it.
    EnforceSessionLimit("enforce_session_limit.sql") {
        replaced: Option<SessionId> => Nullable<SqlUuid>,
        replaced_hash: Option<TokenHash> => Nullable<Bytea>,
        account_id: AccountId => SqlUuid,
        newest: SessionId => SqlUuid,
        others: i64 => BigInt,
    } -> (SqlUuid, Bool)
}

statement! {
    /// The statement in the SQL file, which describes it.
    RevokeAll("revoke_all.sql") {
        reason: &'static str => Text,
        account_id: AccountId => SqlUuid,
        but: Option<SessionId> => Nullable<SqlUuid>,
    } -> (SqlUuid,)
}

statement! {
    /// The statement in the SQL file, which describes it.
    Touch("touch_sessions.sql") { ids: Vec<SessionId> => Array<SqlUuid>, pause: PgInterval => Interval } -> (SqlUuid,)
}

statement! {
    /// The statement in the SQL file, which describes it.
    Extend("extend_session.sql") { ttl: PgInterval => Interval, id: SessionId => SqlUuid, threshold: PgInterval => Interval }
        -> (Timestamptz,)
}

impl NewSession {
    /// Inserts the session. Must follow [`Account::log_in`] in the same transaction.
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
    /// Returns when the owner authenticated: the time of the login that started the session.
    #[must_use]
    pub fn authenticated_at(&self) -> DateTime<Utc> {
        self.created_at
    }

    /// Ends the session that the session `newest` replaces, if there is one. `replaced` contains
    /// the id of that session and the hash of its cookie token. Also ends the oldest live sessions
    /// of the account, so that at most `limit` sessions remain, including `newest`. The caller must
    /// have locked the account's row, so that no concurrent login can exceed the limit. Returns the
    /// sessions that were ended.
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

    /// Revokes all live sessions of an account except `but`. The caller must have locked the
    /// account's row, so that no concurrent login is missed. Returns the ids of the sessions that
    /// were revoked.
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

    /// Revokes a session. Returns `false` if the session is not live or does not belong to this
    /// account.
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

    /// Returns whether the last rotation was less than `span` ago.
    #[must_use]
    pub fn rotated_within(&self, span: Duration) -> bool {
        let span = chrono::Duration::from_std(span).unwrap_or(chrono::Duration::MAX);
        self.family
            .is_some_and(|family| family.generation > 0 && self.now - family.rotated_at < span)
    }

    /// Returns the times that are shown to clients. If the last rotation (the replacement of the
    /// refresh token) was less than `span` ago, these are the times from before that rotation.
    /// Otherwise, an attacker with a copy of an older token could see that the token has been
    /// replaced, and could request its successor within the grace period.
    #[must_use]
    pub fn shown_times(&self, span: Duration) -> ShownTimes {
        let times = ShownTimes { last_seen_at: self.last_seen_at, expires_at: self.expires_at };
        let before =
            self.family.filter(|_| self.rotated_within(span)).and_then(|family| family.before());
        before.map_or(times, |before| ShownTimes {
            last_seen_at: before.rotated_at.unwrap_or(self.created_at),
            // A live session must not appear to have expired.
            expires_at: before
                .expires_at
                .filter(|at| *at > self.now)
                .unwrap_or(times.expires_at)
                .min(times.expires_at),
        })
    }

    /// Records the use of each session in `ids` that is live and whose last recorded use is at
    /// least `pause` ago. Returns the ids of the sessions that were updated.
    pub async fn touch(
        conn: &mut AsyncPgConnection,
        ids: Vec<SessionId>,
        pause: Duration,
    ) -> QueryResult<Vec<SessionId>> {
        let rows: Vec<(SessionId,)> =
            Touch { ids, pause: interval(pause) }.get_results(conn).await?;
        Ok(rows.into_iter().map(|(id,)| id).collect())
    }

    /// Revokes a session. Returns `false` if it had already been revoked or does not exist.
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

    /// Returns `true` if the session exists and is neither revoked nor expired, and if its account
    /// is not disabled.
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

    /// Returns the session and its account, or `None` if the session is not live.
    pub async fn find_live(
        conn: &mut AsyncPgConnection,
        id: SessionId,
    ) -> QueryResult<Option<Self>> {
        // The result of `live` is selected as a column and is not a condition in WHERE. If it were
        // a condition, the planner would have to read the dead entries at the end of the index on
        // expires_at whenever it plans this query shortly after many rows have been deleted.
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

    /// Returns at most `limit` live sessions of the account, newest first.
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

    /// Returns the account's sessions that were revoked within the last `window`, for any reason.
    /// The denylist (the list of revoked sessions in Redis) must contain these sessions.
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

    /// Extends a live session so that it expires `ttl` from now, or at its absolute expiry if that
    /// is earlier. Does nothing if this would extend the session by less than `threshold`: with the
    /// default settings, 95 of 96 rotations therefore do not write to the index on `expires_at`.
    /// Returns the new expiry, or `None` if the expiry is unchanged.
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

    /// Returns the sessions that were revoked within the last `window`, in pages of at most `page`.
    /// The denylist (the list of revoked sessions in Redis) must contain these sessions. `after` is
    /// the last row of the previous page.
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
        // Each bound is an index condition, so the cost of a page depends only on the rows in the
        // page.
        let query = match after {
            // Not clock_timestamp(), which is volatile and therefore cannot be an index condition.
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

/// A condition on a session that is joined with its account: true if the session is live by the
/// database's clock.
#[diesel::dsl::auto_type]
pub(crate) fn live() -> _ {
    sessions::revoked_at
        .is_null()
        .and(sessions::expires_at.gt(clock_timestamp()))
        .and(accounts::disabled_at.is_null())
}

/// A session as read from the database, with its account and token family.
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

/// Returns the time of the database's clock.
pub async fn database_now(conn: &mut AsyncPgConnection) -> QueryResult<DateTime<Utc>> {
    diesel::select(clock_timestamp()).get_result(conn).await
}
