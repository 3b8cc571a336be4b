//! Filters that select sessions. This module parses the text of the filters into a [`Filter`] for
//! the database.

use std::fmt;

use chrono::{DateTime, Datelike as _, Utc};
use clap::Args;
use schema::accounts::AccountSelector;
use schema::browse::Filter;
use schema::ids::AccountId;
use uuid::Uuid;

use crate::config::network_of;
use crate::credentials::AccountAddress;
use crate::domain::Network;

/// The filters as text. A filter that is `None` does not restrict the selection.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Filters")]
pub(crate) struct FilterArgs {
    /// Only sessions of this account, given as the wallet's address (`G…`) or the account's id
    #[arg(long)]
    pub(crate) account: Option<String>,
    /// Only sessions whose login came from this address or network, such as `10.0.0.0/8`
    #[arg(long)]
    pub(crate) ip: Option<String>,
    /// Only sessions with this transport: `token` or `cookie`
    #[arg(long)]
    pub(crate) transport: Option<String>,
    /// Only sessions that began longer ago than this, such as `30d`
    #[arg(long, value_name = "DURATION")]
    pub(crate) older_than: Option<String>,
    /// Only sessions that began within this time, such as `12h`
    #[arg(long, value_name = "DURATION")]
    pub(crate) younger_than: Option<String>,
    /// Only sessions that began before this time (RFC 3339)
    #[arg(long, value_name = "TIME")]
    pub(crate) created_before: Option<String>,
}

/// An argument that has an invalid value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: expected {expected}")]
pub(crate) struct InvalidArgument {
    /// The name of the argument.
    pub(crate) field: &'static str,
    /// A description of the valid values.
    pub(crate) expected: &'static str,
}

impl FilterArgs {
    /// Returns `true` if no filter is set, so that all sessions are selected.
    pub(crate) fn is_empty(&self) -> bool {
        self.given().next().is_none()
    }

    /// Parses the filters. `now` is the database's time.
    pub(crate) fn parse(
        &self,
        network: Network,
        now: DateTime<Utc>,
    ) -> Result<Filter, InvalidArgument> {
        let account = parse(
            "account",
            self.account.as_ref(),
            "a wallet's address (G…) or an account's id",
            |text| account_selector(text, network),
        )?;
        let network_filter = parse(
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
        let older =
            parse("older_than", self.older_than.as_ref(), age, |text| time_before(text, now))?;
        let younger =
            parse("younger_than", self.younger_than.as_ref(), age, |text| time_before(text, now))?;
        let rfc3339 = "a time such as 2026-11-21T09:00:00Z";
        let before = parse("created_before", self.created_before.as_ref(), rfc3339, time)?;
        Ok(Filter {
            account,
            network: network_filter,
            by_cookie,
            created_before: older.into_iter().chain(before).min(),
            created_since: younger,
            active_since: None,
        })
    }

    fn given(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let arguments = [
            ("account", &self.account),
            ("ip", &self.ip),
            ("transport", &self.transport),
            ("older_than", &self.older_than),
            ("younger_than", &self.younger_than),
            ("created_before", &self.created_before),
        ];
        arguments.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?)))
    }
}

impl fmt::Display for FilterArgs {
    /// Writes the filters for the audit log: `account=G… older_than=30d`, or `all` if no filter is
    /// set.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let given: Vec<_> = self.given().map(|(name, value)| format!("{name}={value}")).collect();
        f.write_str(if given.is_empty() { "all".to_owned() } else { given.join(" ") }.as_str())
    }
}

/// Parses an account's id, or the address of the account's wallet on `network`.
pub(crate) fn account_selector(text: &str, network: Network) -> Option<AccountSelector> {
    if let Ok(id) = Uuid::try_parse(text) {
        return Some(AccountSelector::Id(AccountId(id)));
    }
    let address = AccountAddress::parse(text).ok()?;
    Some(AccountSelector::Subject {
        issuer: network.caip2().to_owned(),
        subject: address.as_str().to_owned(),
    })
}

/// Parses a time in RFC 3339 format.
pub(crate) fn time(text: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc3339(text).ok().map(|time| time.to_utc())
}

fn time_before(text: &str, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let span = chrono::Duration::from_std(humantime::parse_duration(text).ok()?).ok()?;
    // PostgreSQL supports no time before 4713 BC.
    now.checked_sub_signed(span).filter(|time| time.year() >= 0)
}

pub(super) fn parse<T>(
    field: &'static str,
    text: Option<&String>,
    expected: &'static str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<Option<T>, InvalidArgument> {
    text.map(|text| parse(text).ok_or(InvalidArgument { field, expected })).transpose()
}
