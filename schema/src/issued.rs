//! Data about the credentials that were issued for a session. The data is sufficient to distinguish
//! a copy of an issued credential from a forgery.

use std::fmt;

use diesel::deserialize::{self, FromSql, FromSqlRow};
use diesel::expression::AsExpression;
use diesel::pg::{Pg, PgValue};
use diesel::prelude::*;
use diesel::serialize::{self, Output, ToSql};
use diesel::sql_types::Bytea;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use secrecy::zeroize::Zeroizing;

use crate::ids::{SessionId, TokenHash};
use crate::tables::{sessions, token_families};

/// The key of a family (the refresh tokens of one session). Half of the secret in each refresh
/// token is a BLAKE3 hash that is computed with this key. Forging a token therefore requires the
/// key in addition to `AUTH_SECRET`.
#[derive(Clone, AsExpression, FromSqlRow)]
#[diesel(sql_type = Bytea)]
pub struct FamilyKey(Zeroizing<[u8; 32]>);

impl FamilyKey {
    /// Creates a key from random bytes.
    #[must_use]
    pub fn new(bytes: Zeroizing<[u8; 32]>) -> Self {
        Self(bytes)
    }

    /// Returns the bytes of the key.
    #[must_use]
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for FamilyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FamilyKey(…)")
    }
}

impl ToSql<Bytea, Pg> for FamilyKey {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
        <[u8] as ToSql<Bytea, Pg>>::to_sql(self.0.as_slice(), out)
    }
}

impl FromSql<Bytea, Pg> for FamilyKey {
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
        Ok(Self(Zeroizing::new(value.as_bytes().try_into()?)))
    }
}

/// The data that proves whether a family issued a refresh token.
#[derive(Clone, Debug, Queryable, Selectable)]
#[diesel(table_name = token_families)]
pub struct IssuedTokens {
    /// The number of rotations so far, which is the generation of the current token.
    pub generation: i64,
    /// Hash of the current token.
    pub token_hash: TokenHash,
    /// Hash of the previous token.
    pub previous_hash: Option<TokenHash>,
    /// Key of all generations; `None` for families that began before family keys existed.
    pub key: Option<FamilyKey>,
}

/// Data about the credentials that were issued for a session, whether the session is live or not.
#[derive(Clone, Debug, Queryable)]
pub struct Issued {
    /// Hash of the current cookie token, or `None` if the session uses refresh tokens.
    pub cookie_hash: Option<TokenHash>,
    /// Hash of the previous cookie token, or `None` if there is none.
    pub previous_cookie_hash: Option<TokenHash>,
    /// The refresh tokens, or `None` if the session uses a cookie.
    pub tokens: Option<IssuedTokens>,
}

impl Issued {
    /// Reads the data. Returns `None` if there is no such session.
    pub async fn of(conn: &mut AsyncPgConnection, id: SessionId) -> QueryResult<Option<Self>> {
        sessions::table
            .left_join(token_families::table)
            .filter(sessions::id.eq(id))
            .select((
                sessions::token_hash,
                sessions::previous_hash,
                Option::<IssuedTokens>::as_select(),
            ))
            .get_result(conn)
            .await
            .optional()
    }
}
