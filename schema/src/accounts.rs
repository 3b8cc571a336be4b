//! Who may log in.

use chrono::{DateTime, Utc};
use diesel::dsl::now;
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use crate::ids::AccountId;
use crate::tables::accounts;

/// An account, as its owner may see it.
#[derive(Clone, Debug, HasQuery)]
#[diesel(table_name = accounts)]
pub struct Account {
    /// Stays the same for as long as the account exists.
    pub id: AccountId,
    /// `stellar:pubnet`, `stellar:testnet` (CAIP-2), or the URL of an OpenID Connect issuer.
    pub issuer: String,
    /// The wallet's `G…` address, or the issuer's `sub`.
    pub subject: String,
    /// When it first logged in.
    pub created_at: DateTime<Utc>,
}

/// What [`Account::log_in`] found or made.
#[derive(Clone, Copy, Debug, Queryable)]
pub struct LoggedIn {
    /// The account.
    pub id: AccountId,
    /// When it was disabled: such an account must not get a session.
    pub disabled_at: Option<DateTime<Utc>>,
}

impl Account {
    /// Makes the account if it is new, notes the login, and *locks the row* until the transaction ends: logins of one
    /// account stand in line behind it, which is what keeps the session limit exact.
    pub async fn log_in(conn: &mut AsyncPgConnection, issuer: &str, subject: &str) -> QueryResult<LoggedIn> {
        diesel::insert_into(accounts::table)
            .values((
                accounts::id.eq(AccountId::generate()),
                accounts::issuer.eq(issuer),
                accounts::subject.eq(subject),
            ))
            .on_conflict((accounts::issuer, accounts::subject))
            .do_update()
            .set(accounts::last_login_at.eq(now))
            .returning((accounts::id, accounts::disabled_at))
            .get_result(conn)
            .await
    }
}
