//! The rotation state of token sessions: which refresh token of a session is the current one. There
//! is one row per session, which is updated in place.

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

/// The initial state of a family (the refresh tokens of one session), when its session starts.
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
    /// Creates the family of a session that started at `created_at` from `networks`. `key` is the
    /// key of the family, and `token_hash` is the hash of its first token.
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

    /// Inserts the family. Must follow [`crate::sessions::NewSession::insert`].
    pub async fn insert(&self, conn: &mut AsyncPgConnection) -> QueryResult<()> {
        diesel::insert_into(token_families::table).values(self).execute(conn).await.map(drop)
    }
}

/// A rotation: the replacement of a refresh token by its successor.
#[derive(Clone, Debug)]
pub struct Rotation {
    /// Id of the session.
    pub session_id: SessionId,
    /// Generation of the token that was presented: the number of rotations before the token was
    /// issued.
    pub generation: i64,
    /// Hash of the token that was presented.
    pub presented: TokenHash,
    /// Hash of the token to be issued.
    pub successor: TokenHash,
    /// The token to be issued, encrypted so that only the holder of the presented token can obtain
    /// it.
    pub sealed_successor: Vec<u8>,
    /// Hash of the `Idempotency-Key` of the request, or `None` if the request has no such key. A
    /// retry of the request has the same key.
    pub attempt: Option<TokenHash>,
    /// Networks that the request came from.
    pub networks: Networks,
}

statement! {
    /// The statement in the SQL file, which describes it.
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
    /// Replaces the presented token with one in-place update, if it is the current token of its
    /// family and the session is live. Otherwise returns `None`. The reason can be found with
    /// [`FamilyState::read`].
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

/// The refresh tokens of a session (a token family), as read together with the session.
#[derive(Clone, Copy, Debug, Queryable, Selectable)]
#[diesel(table_name = token_families)]
pub struct Family {
    /// The current generation.
    pub generation: i64,
    /// Hash of the current token.
    pub token_hash: TokenHash,
    /// Hash of the previous token.
    pub previous_hash: Option<TokenHash>,
    /// When the current token was issued.
    pub rotated_at: DateTime<Utc>,
    previous_rotated_at: Option<DateTime<Utc>>,
    recorded_generation: Option<i64>,
    previous_expires_at: Option<DateTime<Utc>>,
}

/// The times of a session before its last rotation (the replacement of a refresh token), as far as
/// they were recorded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Before {
    pub(crate) rotated_at: Option<DateTime<Utc>>,
    pub(crate) expires_at: Option<DateTime<Utc>>,
}

impl Family {
    /// Returns the times before the last rotation; `None` if there was no rotation.
    pub(crate) fn before(&self) -> Option<Before> {
        // An older release of auth-api does not write the column `previous_expires_at` when it
        // rotates a token. In this case, the column contains the expiry from before an earlier
        // rotation.
        let recorded = self.recorded_generation == Some(self.generation);
        let expires_at = self.previous_expires_at.filter(|_| recorded);
        (self.generation > 0).then_some(Before { rotated_at: self.previous_rotated_at, expires_at })
    }
}

/// The data of a session that is needed for the response to a refresh.
#[derive(Clone, Debug, Queryable)]
pub struct SessionState {
    /// Id of the account, for the claim `sub`.
    pub account_id: AccountId,
    /// Subject of the account, for the claim `wallet`.
    pub subject: String,
    /// When the owner logged in, for the claim `auth_time`.
    pub created_at: DateTime<Utc>,
    /// When the session expires unless it is used.
    pub expires_at: DateTime<Utc>,
    /// When the session expires at the latest.
    pub absolute_expires_at: DateTime<Utc>,
    /// The database's time.
    pub now: DateTime<Utc>,
}

/// The state of a family and its session.
#[derive(Clone, Debug, Queryable)]
pub struct FamilyState {
    /// The data of the session that is needed for the response.
    pub session: SessionState,
    /// Whether the session was revoked or its account is disabled.
    pub revoked: bool,
    /// The data that proves which tokens were issued.
    pub issued: IssuedTokens,
    /// The current token, encrypted so that only the holder of the previous token can obtain it.
    /// `None` before the first rotation.
    pub sealed_successor: Option<Vec<u8>>,
    /// When the current token was issued.
    pub rotated_at: DateTime<Utc>,
    /// When the previous token was issued; `None` before the first rotation.
    pub previous_rotated_at: Option<DateTime<Utc>>,
    /// Hash of the `Idempotency-Key` of the request that issued the current token, or `None` if
    /// that request had no such key.
    pub attempt: Option<TokenHash>,
    recorded_generation: Option<i64>,
    networks: Networks,
    foreign_generation: Option<i64>,
    foreign_generations: Option<i32>,
}

impl FamilyState {
    /// Reads the state without locking any row. No lock is needed before a rotation, or to reject a
    /// token that will never be accepted. Returns `None` if there is no such family.
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

    /// Locks the session and then its family until the transaction ends, and reads both. Returns
    /// `None` if there is no such family.
    ///
    /// The state is read by a separate statement. The result therefore includes a rotation that was
    /// committed while this transaction waited for the locks.
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

    /// Returns the networks from which the family was used. Returns `None` if the last rotation was
    /// made by an older release of auth-api, which does not record the networks.
    #[must_use]
    pub fn networks(&self) -> Option<Networks> {
        (self.recorded_generation == Some(self.issued.generation)).then_some(self.networks)
    }

    /// Returns the number of consecutive generations of refresh tokens with a retry from another
    /// network. The current generation is included, which is assumed to have such a retry.
    #[must_use]
    pub fn foreign_in_a_row(&self) -> Foreign {
        let before = self.foreign_generations.unwrap_or_default();
        match self.foreign_generation.map(|last| self.issued.generation - last) {
            Some(0) => Foreign { generations: before, counted: true },
            Some(1) => Foreign { generations: before.saturating_add(1), counted: false },
            _ => Foreign { generations: 1, counted: false },
        }
    }

    /// Records that the current generation (the current refresh token) had a retry from another
    /// network. The caller must have locked the family.
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

/// Locks the row of a session until the transaction ends. Returns `false` if there is no such
/// session.
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

/// The number of consecutive generations (successive refresh tokens of a session) with a retry from
/// another network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Foreign {
    /// Number of generations, including the current one.
    pub generations: i32,
    /// Whether the current generation was already counted.
    pub counted: bool,
}
