//! Queries for operators. They list the sessions of all accounts, newest first or most recently
//! used first, and find the sessions that match a filter.
//!
//! Every query is limited. A query for a list has a time limit. A [`Walk`] reads a limited number
//! of rows with each statement.

use std::time::Duration;

use chrono::{DateTime, Utc};
use diesel::dsl::{InnerJoinQuerySource, LeftJoinQuerySource};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::{Array, Bool, Nullable, Text, Uuid as SqlUuid};
use diesel_async::{
    AsyncConnection as _, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection as _,
};
use ipnet::IpNet;

use crate::accounts::AccountSelector;
use crate::clock_timestamp;
use crate::ids::SessionId;
use crate::sessions::{RevokedReason, Row, Session, live};
use crate::statement::statement;
use crate::tables::{accounts, sessions, token_families};

/// A filter for sessions. A session must meet all conditions that are set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Sessions of this account.
    pub account: Option<AccountSelector>,
    /// Sessions whose login came from this network.
    pub network: Option<IpNet>,
    /// Cookie sessions if `true`, token sessions if `false`.
    pub by_cookie: Option<bool>,
    /// Sessions started before this time.
    pub created_before: Option<DateTime<Utc>>,
    /// Sessions started at this time or later.
    pub created_since: Option<DateTime<Utc>>,
    /// Sessions started, refreshed or seen at this time or later.
    pub active_since: Option<DateTime<Utc>>,
}

/// A page of the list that is sorted newest first.
#[derive(Clone, Copy, Debug)]
pub struct Page {
    /// Maximum number of sessions on the page.
    pub limit: u16,
    /// The last session of the previous page, or `None` for the first page.
    pub after: Option<SessionId>,
}

type Joined = LeftJoinQuerySource<
    InnerJoinQuerySource<sessions::table, accounts::table>,
    token_families::table,
>;
type Condition = Box<dyn BoxableExpression<Joined, Pg, SqlType = Nullable<Bool>>>;

impl Filter {
    fn conditions(&self) -> Vec<Condition> {
        let mut conditions: Vec<Condition> = Vec::new();
        match self.account.clone() {
            Some(AccountSelector::Id(id)) => {
                conditions.push(Box::new(sessions::account_id.eq(id).nullable()));
            }
            Some(AccountSelector::Subject { issuer, subject }) => {
                conditions.push(Box::new(
                    accounts::issuer.eq(issuer).and(accounts::subject.eq(subject)).nullable(),
                ));
            }
            None => {}
        }
        if let Some(network) = self.network {
            conditions.push(Box::new(sessions::ip.is_contained_by_or_eq(network)));
        }
        match self.by_cookie {
            Some(true) => conditions.push(Box::new(sessions::token_hash.is_not_null().nullable())),
            Some(false) => conditions.push(Box::new(sessions::token_hash.is_null().nullable())),
            None => {}
        }
        if let Some(time) = self.created_before {
            conditions.push(Box::new(sessions::created_at.lt(time).nullable()));
        }
        if let Some(time) = self.created_since {
            conditions.push(Box::new(sessions::created_at.ge(time).nullable()));
        }
        if let Some(time) = self.active_since {
            // A token session counts as used when its tokens are refreshed. Before the first
            // refresh, `rotated_at` is the time of the login.
            let seen =
                sessions::token_hash.is_not_null().and(sessions::last_seen_at.ge(time)).nullable();
            let refreshed = token_families::generation.nullable().gt(0);
            let refreshed = refreshed.and(token_families::rotated_at.nullable().ge(time));
            conditions
                .push(Box::new(sessions::created_at.ge(time).nullable().or(seen).or(refreshed)));
        }
        conditions
    }
}

diesel::define_sql_function! {
    /// Returns the later of two times. If one of them is `NULL`, returns the other time.
    fn greatest(one: diesel::sql_types::Timestamptz, other: Nullable<diesel::sql_types::Timestamptz>)
        -> diesel::sql_types::Timestamptz;
}

impl Session {
    /// Returns a page of the live sessions that match the filter, newest first. If there is a next
    /// page, also returns its cursor, which is the last session of this page.
    ///
    /// Sessions are ordered by id. Ids are `UUIDv7`, so the primary key provides this order without
    /// another index. In this order, a session that starts while the pages are being read comes
    /// before all remaining pages, so no session is skipped or repeated.
    pub async fn browse(
        conn: &mut AsyncPgConnection,
        filter: &Filter,
        page: Page,
        within: Duration,
    ) -> QueryResult<(Vec<Self>, Option<SessionId>)> {
        let mut query = sessions::table
            .inner_join(accounts::table)
            .left_join(token_families::table)
            .select(Row::as_select())
            .filter(live())
            .order(sessions::id.desc())
            // Read one more row than a page may contain, to detect whether there is another page.
            .limit(i64::from(page.limit) + 1)
            .into_boxed();
        for condition in filter.conditions() {
            query = query.filter(condition);
        }
        if let Some(last) = page.after {
            query = query.filter(sessions::id.lt(last));
        }
        let rows = conn
            .transaction(async |conn| {
                bound(conn, within).await?;
                query.load::<Row>(conn).await
            })
            .await?;
        let mut listed: Vec<Self> = rows.into_iter().map(Self::from).collect();
        let more = listed.len() > usize::from(page.limit);
        listed.truncate(page.limit.into());
        let next = listed.last().filter(|_| more).map(|last| last.id);
        Ok((listed, next))
    }

    /// Returns at most `limit` of the live sessions that match the filter, most recently used
    /// first.
    ///
    /// All sessions that match are read and sorted. There is no index on the time of the last use,
    /// because each use of a session would have to update that index.
    pub async fn browse_by_activity(
        conn: &mut AsyncPgConnection,
        filter: &Filter,
        limit: u16,
        within: Duration,
    ) -> QueryResult<Vec<Self>> {
        let activity = greatest(sessions::last_seen_at, token_families::rotated_at.nullable());
        let mut query = sessions::table
            .inner_join(accounts::table)
            .left_join(token_families::table)
            .select(Row::as_select())
            .filter(live())
            .order((activity.desc(), sessions::id.desc()))
            .limit(limit.into())
            .into_boxed();
        for condition in filter.conditions() {
            query = query.filter(condition);
        }
        let rows = conn
            .transaction(async |conn| {
                bound(conn, within).await?;
                query.load::<Row>(conn).await
            })
            .await?;
        Ok(rows.into_iter().map(Self::from).collect())
    }

    /// Revokes each session in `ids` that has not ended, in one statement. Returns the ids of the
    /// revoked sessions.
    pub async fn revoke_many(
        conn: &mut AsyncPgConnection,
        ids: Vec<SessionId>,
        reason: RevokedReason,
    ) -> QueryResult<Vec<SessionId>> {
        let rows: Vec<(SessionId,)> =
            RevokeMany { reason: reason.as_str(), ids }.get_results(conn).await?;
        Ok(rows.into_iter().map(|(id,)| id).collect())
    }
}

/// Limits the time of each statement in this transaction.
async fn bound(conn: &mut AsyncPgConnection, within: Duration) -> QueryResult<()> {
    conn.batch_execute(&format!("SET LOCAL statement_timeout = '{}ms'", within.as_millis())).await
}

statement! {
    /// The statement in the SQL file, which describes it.
    RevokeMany("revoke_many.sql") { reason: &'static str => Text, ids: Vec<SessionId> => Array<SqlUuid> } -> (SqlUuid,)
}

/// The number of rows that one statement of a [`Walk`] reads. The statement takes about ten
/// milliseconds, even if no row matches the filter.
const ROWS_PER_STATEMENT: i64 = 5000;

/// Reads all sessions that match the filter and have not ended, oldest first, one range of the
/// primary key at a time. Therefore, no statement takes long, however large the table is and
/// however few sessions match.
///
/// The walk includes sessions of disabled accounts, because an account may be enabled again. It
/// does not include sessions that start during the walk, so it always ends.
#[derive(Debug)]
pub struct Walk {
    filter: Filter,
    /// The newest session when the walk started, or `None` before the walk starts.
    last: Option<SessionId>,
    after: Option<SessionId>,
    over: bool,
}

impl Walk {
    /// Creates a walk that starts with the oldest session.
    #[must_use]
    pub fn new(filter: Filter) -> Self {
        Self { filter, last: None, after: None, over: false }
    }

    /// Returns the sessions in the next range, in the order of their ids. The result may be empty.
    /// Returns `None` at the end of the walk.
    pub async fn next(
        &mut self,
        conn: &mut AsyncPgConnection,
    ) -> QueryResult<Option<Vec<SessionId>>> {
        if self.over {
            return Ok(None);
        }
        if self.last.is_none() {
            let newest = sessions::table.select(sessions::id).order(sessions::id.desc());
            self.last = newest.first(conn).await.optional()?;
        }
        let Some(last) = self.last else { return Ok(None) };
        // If the filter selects an account, the index on account ids finds the sessions of the
        // account directly. These sessions are therefore read as one range.
        let end = if self.filter.account.is_some() { None } else { self.end(conn).await? };
        let mut query = sessions::table
            .inner_join(accounts::table)
            .left_join(token_families::table)
            .select(sessions::id)
            .filter(sessions::revoked_at.is_null().and(sessions::expires_at.gt(clock_timestamp())))
            .filter(sessions::id.le(last))
            .order(sessions::id)
            .into_boxed();
        for condition in self.filter.conditions() {
            query = query.filter(condition);
        }
        if let Some(after) = self.after {
            query = query.filter(sessions::id.gt(after));
        }
        if let Some(end) = end {
            query = query.filter(sessions::id.le(end));
        }
        let found = query.load(conn).await?;
        (self.after, self.over) = (end, end.is_none());
        Ok(Some(found))
    }

    /// Returns the last session of the next range, or `None` if the range extends to the end of the
    /// table.
    async fn end(&self, conn: &mut AsyncPgConnection) -> QueryResult<Option<SessionId>> {
        let mut query = sessions::table
            .select(sessions::id)
            .order(sessions::id)
            .offset(ROWS_PER_STATEMENT - 1)
            .limit(1)
            .into_boxed::<Pg>();
        if let Some(after) = self.after {
            query = query.filter(sessions::id.gt(after));
        }
        query.get_result(conn).await.optional()
    }
}
