//! Accounts, each of which represents a wallet that may log in.

use chrono::{DateTime, Utc};
use diesel::dsl::now;
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use crate::clock_timestamp;
use crate::ids::AccountId;
use crate::tables::accounts;

/// The data of an account that its owner may see.
#[derive(Clone, Debug, HasQuery)]
#[diesel(table_name = accounts)]
pub struct Account {
    /// The id, which never changes.
    pub id: AccountId,
    /// `stellar:pubnet`, `stellar:testnet` (CAIP-2), or the URL of an OpenID Connect issuer.
    pub issuer: String,
    /// The wallet's `G…` address, or the issuer's `sub`.
    pub subject: String,
    /// The time of the first login to the account.
    pub created_at: DateTime<Utc>,
}

/// The account with which a login succeeded, as returned by [`Account::log_in`].
#[derive(Clone, Copy, Debug)]
pub struct LoggedIn {
    /// The id of the account.
    pub id: AccountId,
    /// When the account was disabled, or `None` if it is enabled. A disabled account must not get a
    /// session.
    pub disabled_at: Option<DateTime<Utc>>,
    /// Whether the login created the account.
    pub is_new: bool,
}

impl Account {
    /// Creates the account if it is new, records the login, and *locks the row* until the
    /// transaction ends. Concurrent logins to an account wait for the lock. Therefore, no login can
    /// exceed the session limit.
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

    /// Locks the row of the account until the transaction ends, so that logins to the account wait.
    /// Returns `false` if there is no such account or the account is disabled.
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

    /// Returns the account, disabled or not, and locks its row until the transaction ends.
    pub async fn find(
        conn: &mut AsyncPgConnection,
        selector: &AccountSelector,
    ) -> QueryResult<Option<Self>> {
        let query = accounts::table.select(Self::as_select()).for_no_key_update();
        match selector {
            AccountSelector::Id(id) => {
                query.filter(accounts::id.eq(id)).get_result(conn).await.optional()
            }
            AccountSelector::Subject { issuer, subject } => {
                let named = accounts::issuer.eq(issuer).and(accounts::subject.eq(subject));
                query.filter(named).get_result(conn).await.optional()
            }
        }
    }

    /// Disables the account: it can no longer log in, and its sessions are no longer live. If the
    /// account was already disabled or there is no such account, changes nothing and returns
    /// `false`.
    pub async fn disable(conn: &mut AsyncPgConnection, id: AccountId) -> QueryResult<bool> {
        diesel::update(accounts::table.find(id).filter(accounts::disabled_at.is_null()))
            .set(accounts::disabled_at.eq(clock_timestamp().nullable()))
            .execute(conn)
            .await
            .map(|rows| rows == 1)
    }

    /// Enables the account, so that it can log in again. Returns `false` if the account was not
    /// disabled or there is no such account.
    pub async fn enable(conn: &mut AsyncPgConnection, id: AccountId) -> QueryResult<bool> {
        diesel::update(accounts::table.find(id).filter(accounts::disabled_at.is_not_null()))
            .set(accounts::disabled_at.eq(None::<DateTime<Utc>>))
            .execute(conn)
            .await
            .map(|rows| rows == 1)
    }

    /// Deletes the account and its sessions. Returns `false` if there is no such account.
    pub async fn delete(conn: &mut AsyncPgConnection, id: AccountId) -> QueryResult<bool> {
        diesel::delete(accounts::table.find(id)).execute(conn).await.map(|rows| rows == 1)
    }
}

/// How an account is identified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccountSelector {
    /// Identifies the account by its id.
    Id(AccountId),
    /// Identifies the account by its issuer and subject.
    Subject {
        /// The issuer, such as `stellar:pubnet`.
        issuer: String,
        /// The subject, such as the address of a wallet.
        subject: String,
    },
}
