//! Which sessions an operator means: from words to what is asked of the database.

use std::fmt;

use chrono::{DateTime, Datelike as _, Utc};
use clap::Args;
use schema::accounts::AccountSelector;
use schema::browse::Filter;
use schema::ids::AccountId;
use uuid::Uuid;

use crate::config::{Network, network_of};
use crate::credentials::AccountAddress;

/// The filters, as they were written. What is not said is not asked for.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Filters")]
pub(crate) struct Words {
    /// Of this account: a wallet's address (`G…`), or the account's id
    #[arg(long)]
    pub(crate) account: Option<String>,
    /// Begun from this address, or from an address in this network (`10.0.0.0/8`)
    #[arg(long)]
    pub(crate) ip: Option<String>,
    /// Carried by `token` or `cookie`
    #[arg(long)]
    pub(crate) transport: Option<String>,
    /// Begun longer ago than this, such as `30d`
    #[arg(long, value_name = "DURATION")]
    pub(crate) older_than: Option<String>,
    /// Begun within this time, such as `12h`
    #[arg(long, value_name = "DURATION")]
    pub(crate) younger_than: Option<String>,
    /// Begun before this time (RFC 3339)
    #[arg(long, value_name = "TIME")]
    pub(crate) created_before: Option<String>,
}

/// A word that means nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: expected {expected}")]
pub(crate) struct Meaningless {
    /// Where it stands.
    pub(crate) field: &'static str,
    /// What would mean something there.
    pub(crate) expected: &'static str,
}

impl Words {
    /// Whether nothing is said: all sessions are meant.
    pub(crate) fn are_none(&self) -> bool {
        self.said().next().is_none()
    }

    /// What is asked of the database. `now` is the database's time.
    pub(crate) fn parse(
        &self,
        network: Network,
        now: DateTime<Utc>,
    ) -> Result<Filter, Meaningless> {
        let account = parse(
            "account",
            self.account.as_ref(),
            "a wallet's address (G…) or an account's id",
            |text| which(text, network),
        )?;
        let address = parse(
            "ip",
            self.ip.as_ref(),
            "an address, or a network such as 10.0.0.0/8",
            network_of,
        )?;
        let by_cookie =
            parse("transport", self.transport.as_ref(), "token or cookie", |text| match text {
                "token" => Some(false),
                "cookie" => Some(true),
                _ => None,
            })?;
        let age = "a duration such as 12h or 30d";
        let older = parse("older_than", self.older_than.as_ref(), age, |text| ago(text, now))?;
        let younger =
            parse("younger_than", self.younger_than.as_ref(), age, |text| ago(text, now))?;
        let rfc3339 = "a time such as 2026-11-21T09:00:00Z";
        let before = parse("created_before", self.created_before.as_ref(), rfc3339, time)?;
        Ok(Filter {
            account,
            network: address,
            by_cookie,
            created_before: older.into_iter().chain(before).min(),
            created_since: younger,
            active_since: None,
        })
    }

    fn said(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let words = [
            ("account", &self.account),
            ("ip", &self.ip),
            ("transport", &self.transport),
            ("older_than", &self.older_than),
            ("younger_than", &self.younger_than),
            ("created_before", &self.created_before),
        ];
        words.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?)))
    }
}

impl fmt::Display for Words {
    /// For the audit log: `account=G… older_than=30d`, or `all`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let said: Vec<_> = self.said().map(|(name, value)| format!("{name}={value}")).collect();
        f.write_str(if said.is_empty() { "all".to_owned() } else { said.join(" ") }.as_str())
    }
}

/// How an account is named by its id, or by the address of its wallet on our network.
pub(crate) fn which(text: &str, network: Network) -> Option<AccountSelector> {
    if let Ok(id) = Uuid::try_parse(text) {
        return Some(AccountSelector::Id(AccountId(id)));
    }
    let address = AccountAddress::parse(text).ok()?;
    Some(AccountSelector::Subject {
        issuer: network.caip2().to_owned(),
        subject: address.as_str().to_owned(),
    })
}

/// A time as RFC 3339 has it.
pub(crate) fn time(text: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc3339(text).ok().map(|time| time.to_utc())
}

fn ago(text: &str, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let span = chrono::Duration::from_std(humantime::parse_duration(text).ok()?).ok()?;
    // PostgreSQL counts from 4713 BC.
    now.checked_sub_signed(span).filter(|time| time.year() >= 0)
}

pub(super) fn parse<T>(
    field: &'static str,
    text: Option<&String>,
    expected: &'static str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<Option<T>, Meaningless> {
    text.map(|text| parse(text).ok_or(Meaningless { field, expected })).transpose()
}
