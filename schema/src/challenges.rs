//! Challenges that were used.

use chrono::{DateTime, Utc};
use diesel::QueryResult;
use diesel::sql_types::{Bool, Bytea, Timestamptz};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use crate::ids::TokenHash;
use crate::statement::statement;

/// What became of a challenge that was to be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consumed {
    /// It is used up now, if the transaction commits.
    Now,
    /// Somebody used it before: a replay.
    Before,
    /// By the database's clock it has expired.
    Expired,
}

statement! {
    /// See the file.
    Consume("consume_challenge.sql") { expires_at: DateTime<Utc> => Timestamptz, nonce_hash: TokenHash => Bytea }
        -> (Bool, Bool)
}

/// Uses a challenge up: it works once, and before `expires_at` by the *database's* clock.
///
/// Belongs into the transaction that creates the session, after the account's row lock: when that
/// rolls back, the challenge is as good as before.
pub async fn consume(
    conn: &mut AsyncPgConnection,
    nonce_hash: TokenHash,
    expires_at: DateTime<Utc>,
) -> QueryResult<Consumed> {
    let (valid, inserted) =
        Consume { expires_at, nonce_hash }.get_result::<(bool, bool)>(conn).await?;
    Ok(match (valid, inserted) {
        (false, _) => Consumed::Expired,
        (true, true) => Consumed::Now,
        (true, false) => Consumed::Before,
    })
}
