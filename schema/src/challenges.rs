//! Challenges (the texts that wallets sign to log in) that have been used.

use chrono::{DateTime, Utc};
use diesel::QueryResult;
use diesel::sql_types::{Bool, Bytea, Timestamptz};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use crate::ids::TokenHash;
use crate::statement::statement;

/// The result of using a challenge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consumed {
    /// The challenge had not been used. It becomes used when the transaction commits.
    Now,
    /// The challenge had already been used, so the request is a replay.
    Before,
    /// According to the database's clock, the challenge has expired.
    Expired,
}

statement! {
    /// The statement in the SQL file, which describes it.
    Consume("consume_challenge.sql") { expires_at: DateTime<Utc> => Timestamptz, nonce_hash: TokenHash => Bytea }
        -> (Bool, Bool)
}

/// Uses a challenge. This succeeds only once, and only before `expires_at` by the *database's*
/// clock.
///
/// Must be called in the transaction that creates the session, after that transaction has locked
/// the account's row. If the transaction rolls back, the challenge can still be used.
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
