//! Who may log in.

use chrono::{DateTime, Utc};
use diesel::dsl::now;
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use crate::clock_timestamp;
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
#[derive(Clone, Copy, Debug)]
pub struct LoggedIn {
    /// The account.
    pub id: AccountId,
    /// When it was disabled: such an account must not get a session.
    pub disabled_at: Option<DateTime<Utc>>,
    /// It did not exist before.
    pub is_new: bool,
}

impl Account {
    /// Makes the account if it is new, notes the login, and *locks the row* until the transaction
    /// ends: logins of one account stand in line behind it, which is what keeps the session
    /// limit exact.
    pub async fn log_in(
        conn: &mut AsyncPgConnection,
        issuer: &str,
        subject: &str,
    ) -> QueryResult<LoggedIn> {
        let generated = AccountId::generate();
        let (id, disabled_at) = diesel::insert_into(accounts::table)
            .values((
                accounts::id.eq(generated),
                accounts::issuer.eq(issuer),
                accounts::subject.eq(subject),
            ))
            .on_conflict((accounts::issuer, accounts::subject))
            .do_update()
            .set(accounts::last_login_at.eq(now))
            .returning((accounts::id, accounts::disabled_at))
            .get_result::<(AccountId, Option<DateTime<Utc>>)>(conn)
            .await?;
        Ok(LoggedIn { id, disabled_at, is_new: id == generated })
    }

    /// Locks the row until the transaction ends: logins of the account wait. `false`: there is
    /// none, or it is disabled.
    pub async fn lock(conn: &mut AsyncPgConnection, id: AccountId) -> QueryResult<bool> {
        accounts::table
            .find(id)
            .filter(accounts::disabled_at.is_null())
            .select(accounts::id)
            .for_no_key_update()
            .get_result::<AccountId>(conn)
            .await
            .optional()
            .map(|id| id.is_some())
    }

    /// The account, locked until the transaction ends, whether it is disabled or not.
    pub async fn find(
        conn: &mut AsyncPgConnection,
        which: &AccountSelector,
    ) -> QueryResult<Option<Self>> {
        let query = accounts::table.select(Self::as_select()).for_no_key_update();
        match which {
            AccountSelector::Id(id) => {
                query.filter(accounts::id.eq(id)).get_result(conn).await.optional()
            }
            AccountSelector::Subject { issuer, subject } => {
                let named = accounts::issuer.eq(issuer).and(accounts::subject.eq(subject));
                query.filter(named).get_result(conn).await.optional()
            }
        }
    }

    /// Refuses its logins from now on, and its sessions are over. Does not touch a time that is
    /// set.
    pub async fn disable(conn: &mut AsyncPgConnection, id: AccountId) -> QueryResult<bool> {
        diesel::update(accounts::table.find(id).filter(accounts::disabled_at.is_null()))
            .set(accounts::disabled_at.eq(clock_timestamp().nullable()))
            .execute(conn)
            .await
            .map(|rows| rows == 1)
    }

    /// Lets it log in again. Its sessions stay over.
    pub async fn enable(conn: &mut AsyncPgConnection, id: AccountId) -> QueryResult<bool> {
        diesel::update(accounts::table.find(id).filter(accounts::disabled_at.is_not_null()))
            .set(accounts::disabled_at.eq(None::<DateTime<Utc>>))
            .execute(conn)
            .await
            .map(|rows| rows == 1)
    }

    /// Deletes it, and its sessions with it.
    pub async fn delete(conn: &mut AsyncPgConnection, id: AccountId) -> QueryResult<bool> {
        diesel::delete(accounts::table.find(id)).execute(conn).await.map(|rows| rows == 1)
    }
}

/// How an account is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccountSelector {
    /// By its id.
    Id(AccountId),
    /// By who it is.
    Subject {
        /// `stellar:pubnet`, …
        issuer: String,
        /// The wallet's address, …
        subject: String,
    },
}
