//! The rotation state of token sessions: one row a session, updated in place.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bytea, Inet, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use ipnet::IpNet;

use crate::clock_timestamp;
use crate::ids::{AccountId, SessionId, TokenHash};
use crate::issued::{FamilyKey, IssuedTokens};
use crate::networks::Networks;
use crate::statement::statement;
use crate::tables::{accounts, sessions, token_families};

/// The first state of a family, when its session begins.
#[derive(Clone, Debug, Insertable)]
#[diesel(table_name = token_families)]
pub struct NewTokenFamily {
    session_id: SessionId,
    generation: i64,
    token_hash: TokenHash,
    rotated_at: DateTime<Utc>,
    recorded_generation: i64,
    last_ipv4: Option<IpNet>,
    last_ipv6: Option<IpNet>,
    key: FamilyKey,
}

impl NewTokenFamily {
    /// The family of a session that began at `created_at`, used from `networks`, with its key and
    /// the hash of the first token.
    #[must_use]
    pub fn new(
        session_id: SessionId,
        created_at: DateTime<Utc>,
        key: FamilyKey,
        token_hash: TokenHash,
        networks: Networks,
    ) -> Self {
        let Networks { last_ipv4, last_ipv6 } = networks;
        let (generation, recorded_generation) = (0, 0);
        Self {
            session_id,
            generation,
            token_hash,
            rotated_at: created_at,
            recorded_generation,
            last_ipv4,
            last_ipv6,
            key,
        }
    }

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
    /// From where.
    pub networks: Networks,
}

statement! {
    /// See the file.
    Rotate("rotate.sql") {
        successor: TokenHash => Bytea,
        sealed_successor: Vec<u8> => Bytea,
        attempt: Option<TokenHash> => Nullable<Bytea>,
        last_ipv4: Option<IpNet> => Nullable<Inet>,
        last_ipv6: Option<IpNet> => Nullable<Inet>,
        session_id: SessionId => SqlUuid,
        generation: i64 => BigInt,
        presented: TokenHash => Bytea,
    } -> (SqlUuid, Text, Timestamptz, Timestamptz, Timestamptz, Timestamptz)
}

impl Rotation {
    /// Rotates if the presented token is the current one and its session lives: one in-place
    /// update. `None` otherwise: [`FamilyState::read`] then tells why.
    pub async fn apply(self, conn: &mut AsyncPgConnection) -> QueryResult<Option<SessionState>> {
        let Self {
            session_id,
            generation,
            presented,
            successor,
            sealed_successor,
            attempt,
            networks,
        } = self;
        let Networks { last_ipv4, last_ipv6 } = networks;
        Rotate {
            successor,
            sealed_successor,
            attempt,
            last_ipv4,
            last_ipv6,
            session_id,
            generation,
            presented,
        }
        .get_result(conn)
        .await
        .optional()
    }
}

/// What the family of a session shows of its refresh tokens.
#[derive(Clone, Copy, Debug, Queryable, Selectable)]
#[diesel(table_name = token_families)]
pub struct Family {
    /// The current generation.
    pub generation: i64,
    /// The hash of the current token.
    pub token_hash: TokenHash,
    /// The hash of the one before.
    pub previous_hash: Option<TokenHash>,
    /// When the current one became that.
    pub rotated_at: DateTime<Utc>,
    previous_rotated_at: Option<DateTime<Utc>>,
    recorded_generation: Option<i64>,
    previous_expires_at: Option<DateTime<Utc>>,
}

/// The times that a session had before its last rotation, as far as they were kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Before {
    pub(crate) rotated_at: Option<DateTime<Utc>>,
    pub(crate) expires_at: Option<DateTime<Utc>>,
}

impl Family {
    /// What there was before the last rotation; `None`: there was none.
    pub(crate) fn before(&self) -> Option<Before> {
        // An auth-api of before the column leaves the expiry of an earlier rotation in it.
        let recorded = self.recorded_generation == Some(self.generation);
        let expires_at = self.previous_expires_at.filter(|_| recorded);
        (self.generation > 0).then_some(Before { rotated_at: self.previous_rotated_at, expires_at })
    }
}

/// What an answer to a refresh needs to know of its session, by the database's clock.
#[derive(Clone, Debug, Queryable)]
pub struct SessionState {
    /// The account, for `sub`.
    pub account_id: AccountId,
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

/// The state of a family and its session.
#[derive(Clone, Debug, Queryable)]
pub struct FamilyState {
    /// What an answer needs.
    pub session: SessionState,
    /// The session was revoked, or its account disabled.
    pub revoked: bool,
    /// What proves that a token was issued.
    pub issued: IssuedTokens,
    /// The current token, sealed for whoever has the one before.
    pub sealed_successor: Option<Vec<u8>>,
    /// When it became current.
    pub rotated_at: DateTime<Utc>,
    /// When the one before became current; `None` before the first rotation.
    pub previous_rotated_at: Option<DateTime<Utc>>,
    /// The hash of the key of the attempt that made it current.
    pub attempt: Option<TokenHash>,
    recorded_generation: Option<i64>,
    networks: Networks,
    foreign_generation: Option<i64>,
    foreign_generations: Option<i32>,
}

impl FamilyState {
    /// Reads it without a lock: enough to rotate, and to refuse what no later moment would accept.
    /// `None`: there is no such family.
    pub async fn read(conn: &mut AsyncPgConnection, id: SessionId) -> QueryResult<Option<Self>> {
        token_families::table
            .inner_join(sessions::table.inner_join(accounts::table))
            .filter(token_families::session_id.eq(id))
            .select((
                (
                    sessions::account_id,
                    accounts::subject,
                    sessions::created_at,
                    sessions::expires_at,
                    sessions::absolute_expires_at,
                    clock_timestamp(),
                ),
                sessions::revoked_at.is_not_null().or(accounts::disabled_at.is_not_null()),
                IssuedTokens::as_select(),
                token_families::sealed_successor,
                token_families::rotated_at,
                token_families::previous_rotated_at,
                token_families::attempt_hash,
                token_families::recorded_generation,
                Networks::as_select(),
                token_families::foreign_generation,
                token_families::foreign_generations,
            ))
            .get_result(conn)
            .await
            .optional()
    }

    /// Locks the session and then its family until the transaction ends, and reads both. `None`:
    /// there is no such family.
    ///
    /// The read is a statement of its own, so that it sees what a rotation committed while the
    /// locks were waited for.
    pub async fn lock(conn: &mut AsyncPgConnection, id: SessionId) -> QueryResult<Option<Self>> {
        if !lock_session(conn, id).await? {
            return Ok(None);
        }
        let family = token_families::table.find(id).select(token_families::session_id);
        let locked: Option<SessionId> = family.for_update().get_result(conn).await.optional()?;
        if locked.is_none() {
            return Ok(None);
        }
        Self::read(conn, id).await
    }

    /// The networks that the family was used from; `None`: those of its last rotation were not
    /// recorded, by an auth-api of before there were any.
    #[must_use]
    pub fn networks(&self) -> Option<Networks> {
        (self.recorded_generation == Some(self.issued.generation)).then_some(self.networks)
    }

    /// How many generations in a row had a retry from another network, were there one for the
    /// current generation.
    #[must_use]
    pub fn foreign_in_a_row(&self) -> Foreign {
        let before = self.foreign_generations.unwrap_or_default();
        match self.foreign_generation.map(|last| self.issued.generation - last) {
            Some(0) => Foreign { generations: before, counted: true },
            Some(1) => Foreign { generations: before.saturating_add(1), counted: false },
            _ => Foreign { generations: 1, counted: false },
        }
    }

    /// Stores that the current generation had one. Needs the family's lock.
    pub async fn count_foreign(
        &self,
        conn: &mut AsyncPgConnection,
        id: SessionId,
    ) -> QueryResult<()> {
        diesel::update(token_families::table.find(id))
            .set((
                token_families::foreign_generation.eq(self.issued.generation),
                token_families::foreign_generations.eq(self.foreign_in_a_row().generations),
            ))
            .execute(conn)
            .await
            .map(drop)
    }
}

/// Locks the row of a session until the transaction ends. `false`: there is no such session.
async fn lock_session(conn: &mut AsyncPgConnection, id: SessionId) -> QueryResult<bool> {
    sessions::table
        .find(id)
        .select(sessions::id)
        .for_no_key_update()
        .get_result::<SessionId>(conn)
        .await
        .optional()
        .map(|id| id.is_some())
}

/// Generations in a row with a retry from another network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Foreign {
    /// How many, the current one among them.
    pub generations: i32,
    /// The current one has been counted before.
    pub counted: bool,
}
