//! The rotation state of token sessions: one row a session, updated in place.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bytea, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use crate::clock_timestamp;
use crate::ids::{AccountId, SessionId, TokenHash};
use crate::statement::statement;
use crate::tables::{accounts, sessions, token_families};

/// The first state of a family, when its session begins.
#[derive(Clone, Debug, Insertable)]
#[diesel(table_name = token_families)]
pub struct NewTokenFamily {
    /// The session it belongs to.
    pub session_id: SessionId,
    /// 0.
    pub generation: i64,
    /// Of the first refresh token.
    pub token_hash: TokenHash,
    /// When the session began.
    pub rotated_at: DateTime<Utc>,
}

impl NewTokenFamily {
    /// Stores it. Must follow [`crate::sessions::NewSession::insert`].
    pub async fn insert(&self, conn: &mut AsyncPgConnection) -> QueryResult<()> {
        diesel::insert_into(token_families::table).values(self).execute(conn).await.map(drop)
    }
}

/// A step from one refresh token to the next.
#[derive(Clone, Debug)]
pub struct Rotation {
    /// Whose.
    pub session_id: SessionId,
    /// The generation of the token that was presented.
    pub generation: i64,
    /// The hash of the token that was presented.
    pub presented: TokenHash,
    /// The hash of the token to be issued.
    pub successor: TokenHash,
    /// The token to be issued, sealed for whoever has the presented one.
    pub sealed_successor: Vec<u8>,
    /// The hash of the attempt's key, by which a retry of it is known.
    pub attempt: Option<TokenHash>,
}

/// What an answer to a refresh needs to know of its session, by the database's clock.
#[derive(Clone, Debug)]
pub struct Rotated {
    /// The account, for `sub`.
    pub account_id: AccountId,
    /// Its issuer.
    pub issuer: String,
    /// Its subject, for `wallet`.
    pub subject: String,
    /// When the login was, for `auth_time`.
    pub created_at: DateTime<Utc>,
    /// When the session ends unless it is used.
    pub expires_at: DateTime<Utc>,
    /// When it ends in any case.
    pub absolute_expires_at: DateTime<Utc>,
    /// The database's time.
    pub now: DateTime<Utc>,
}

statement! {
    /// See the file.
    Rotate("rotate.sql") {
        successor: TokenHash => Bytea,
        sealed_successor: Vec<u8> => Bytea,
        attempt: Option<TokenHash> => Nullable<Bytea>,
        session_id: SessionId => SqlUuid,
        generation: i64 => BigInt,
        presented: TokenHash => Bytea,
    } -> (SqlUuid, Text, Text, Timestamptz, Timestamptz, Timestamptz, Timestamptz)
}

impl Rotation {
    /// Rotates if the presented token is the current one and its session lives; one round trip, one in-place update.
    /// `None` otherwise: [`Standing::lock`] then tells why.
    pub async fn apply(self, conn: &mut AsyncPgConnection) -> QueryResult<Option<Rotated>> {
        let Self { session_id, generation, presented, successor, sealed_successor, attempt } = self;
        let rotate = Rotate { successor, sealed_successor, attempt, session_id, generation, presented };
        let row: Option<RotatedRow> = rotate.get_result(conn).await.optional()?;
        Ok(row.map(|(account_id, issuer, subject, created_at, expires_at, absolute_expires_at, now)| Rotated {
            account_id,
            issuer,
            subject,
            created_at,
            expires_at,
            absolute_expires_at,
            now,
        }))
    }
}

/// What the family of a session says of its current refresh token.
#[derive(Clone, Copy, Debug, Queryable, Selectable)]
#[diesel(table_name = token_families)]
pub struct Family {
    /// The current generation.
    pub generation: i64,
    /// The hash of the current token.
    pub token_hash: TokenHash,
    /// When it became current.
    pub rotated_at: DateTime<Utc>,
}

/// How a family and its session stand, read without a lock: enough to refuse what no later moment would accept.
#[derive(Clone, Copy, Debug, Queryable)]
pub struct Glance {
    /// The session was revoked, or its account disabled.
    pub revoked: bool,
    /// The session has expired.
    pub expired: bool,
    /// The current generation.
    pub generation: i64,
    /// The database's time.
    pub now: DateTime<Utc>,
}

impl Glance {
    /// `None`: there is no such session.
    pub async fn at(conn: &mut AsyncPgConnection, id: SessionId) -> QueryResult<Option<Self>> {
        token_families::table
            .inner_join(sessions::table.inner_join(accounts::table))
            .filter(token_families::session_id.eq(id))
            .select((
                sessions::revoked_at.is_not_null().or(accounts::disabled_at.is_not_null()),
                sessions::expires_at.le(clock_timestamp()),
                token_families::generation,
                clock_timestamp(),
            ))
            .get_result(conn)
            .await
            .optional()
    }
}

/// Where a family and its session stand, read under their locks.
#[derive(Clone, Debug)]
pub struct Standing {
    /// What an answer needs.
    pub session: Rotated,
    /// When the session was revoked, or its account disabled.
    pub revoked_at: Option<DateTime<Utc>>,
    /// The current generation.
    pub generation: i64,
    /// The hash of the current token.
    pub token_hash: TokenHash,
    /// The hash of the one before.
    pub previous_hash: Option<TokenHash>,
    /// The current token, sealed for whoever has the one before.
    pub sealed_successor: Option<Vec<u8>>,
    /// When it became current.
    pub rotated_at: DateTime<Utc>,
    /// When the one before became current; `None` before the first rotation.
    pub previous_rotated_at: Option<DateTime<Utc>>,
    /// The hash of the key of the attempt that made it current.
    pub attempt: Option<TokenHash>,
}

statement! {
    /// See the file.
    LockFamily("lock_family.sql") { session_id: SessionId => SqlUuid } -> (
        SqlUuid, Text, Text, Timestamptz, Timestamptz, Timestamptz, Timestamptz,
        Nullable<Timestamptz>, BigInt, Bytea, Nullable<Bytea>, Nullable<Bytea>, Timestamptz, Nullable<Timestamptz>,
        Nullable<Bytea>,
    )
}

type RotatedRow = (AccountId, String, String, DateTime<Utc>, DateTime<Utc>, DateTime<Utc>, DateTime<Utc>);
type LockedRow = (
    AccountId,
    String,
    String,
    DateTime<Utc>,
    DateTime<Utc>,
    DateTime<Utc>,
    DateTime<Utc>,
    Option<DateTime<Utc>>,
    i64,
    TokenHash,
    Option<TokenHash>,
    Option<Vec<u8>>,
    DateTime<Utc>,
    Option<DateTime<Utc>>,
    Option<TokenHash>,
);

impl Standing {
    /// Locks the session and then its family until the transaction ends, and reads both. `None`: there is no such session.
    ///
    /// Two statements, so that the second sees what a rotation committed while the first waited.
    pub async fn lock(conn: &mut AsyncPgConnection, id: SessionId) -> QueryResult<Option<Self>> {
        if !crate::sessions::Session::lock(conn, id).await? {
            return Ok(None);
        }
        let row: Option<LockedRow> = LockFamily { session_id: id }.get_result(conn).await.optional()?;
        Ok(row.map(|row| Self {
            session: Rotated {
                account_id: row.0,
                issuer: row.1,
                subject: row.2,
                created_at: row.3,
                expires_at: row.4,
                absolute_expires_at: row.5,
                now: row.6,
            },
            revoked_at: row.7,
            generation: row.8,
            token_hash: row.9,
            previous_hash: row.10,
            sealed_successor: row.11,
            rotated_at: row.12,
            previous_rotated_at: row.13,
            attempt: row.14,
        }))
    }

    /// The same as can be read without a lock.
    #[must_use]
    pub fn glance(&self) -> Glance {
        Glance {
            revoked: self.revoked_at.is_some(),
            expired: self.session.expires_at <= self.session.now,
            generation: self.generation,
            now: self.session.now,
        }
    }
}
