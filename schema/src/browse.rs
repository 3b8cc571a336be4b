//! What operators ask of sessions: those of all accounts, newest first or by activity, and
//! whichever match a filter.
//!
//! Every query here is bounded: a list by the time that it may take, the walk over what matches by
//! the rows that one statement looks at.

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

/// Which sessions: those that meet every condition given here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Of this account.
    pub account: Option<AccountSelector>,
    /// Begun from an address in this network.
    pub network: Option<IpNet>,
    /// Carried by a cookie; `false`: by tokens.
    pub by_cookie: Option<bool>,
    /// Begun before this time.
    pub created_before: Option<DateTime<Utc>>,
    /// Begun at this time or later.
    pub created_since: Option<DateTime<Utc>>,
    /// Begun, refreshed or seen at this time or later.
    pub active_since: Option<DateTime<Utc>>,
}

/// A page of the list that is newest first.
#[derive(Clone, Copy, Debug)]
pub struct Page {
    /// Sessions in it at the most.
    pub limit: u16,
    /// The last session of the page before it.
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
            // A session of tokens is used by refreshing: before its first time the family tells of
            // the login alone.
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
    /// The later of two times; of a session without a family the first.
    fn greatest(one: diesel::sql_types::Timestamptz, other: Nullable<diesel::sql_types::Timestamptz>)
        -> diesel::sql_types::Timestamptz;
}

impl Session {
    /// A page of all live sessions that match, newest first, and where the next page begins, if
    /// there is one.
    ///
    /// Newest first is by the id: ids are `UUIDv7`, and the primary key gives them in this order
    /// without another index. A session that begins meanwhile is before all pages that follow,
    /// and none is passed over or told twice.
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
            // One more than is told, to know whether there is another page.
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

    /// The live sessions that match and were used last, `limit` at the most.
    ///
    /// No index says when a session was used, because each use would have to write it: all that
    /// match are read and sorted.
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

    /// Ends those of these sessions that have not ended yet, in one statement. Returns which.
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

/// Bounds the statements of this transaction.
async fn bound(conn: &mut AsyncPgConnection, within: Duration) -> QueryResult<()> {
    conn.batch_execute(&format!("SET LOCAL statement_timeout = '{}ms'", within.as_millis())).await
}

statement! {
    /// See the file.
    RevokeMany("revoke_many.sql") { reason: &'static str => Text, ids: Vec<SessionId> => Array<SqlUuid> } -> (SqlUuid,)
}

/// Rows that one statement of a [`Walk`] looks at. It takes some ten milliseconds, however few of
/// them match.
const STRETCH: i64 = 5000;

/// A walk over the sessions that match and have not ended, oldest first, a stretch of the primary
/// key at a time: so no statement takes long, however large the table is and however little of it
/// matches.
///
/// Sessions of an account that is disabled are among them: it may be enabled again. Those that
/// begin after the walk are not, so that it comes to an end.
#[derive(Debug)]
pub struct Walk {
    filter: Filter,
    /// The last session that there was when it began.
    last: Option<SessionId>,
    after: Option<SessionId>,
    over: bool,
}

impl Walk {
    /// From the oldest.
    #[must_use]
    pub fn new(filter: Filter) -> Self {
        Self { filter, last: None, after: None, over: false }
    }

    /// What there is in the next stretch, in the order of the ids; perhaps nothing. `None`: it is
    /// over.
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
        // The index on accounts leads straight to those of one account.
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

    /// The last session of the next stretch. `None`: it reaches to the end of the table.
    async fn end(&self, conn: &mut AsyncPgConnection) -> QueryResult<Option<SessionId>> {
        let mut query = sessions::table
            .select(sessions::id)
            .order(sessions::id)
            .offset(STRETCH - 1)
            .limit(1)
            .into_boxed::<Pg>();
        if let Some(after) = self.after {
            query = query.filter(sessions::id.gt(after));
        }
        query.get_result(conn).await.optional()
    }
}
