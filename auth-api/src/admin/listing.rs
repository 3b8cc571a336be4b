//! The list of live sessions. It contains either all live sessions, in pages and newest first, or
//! only the most recently used sessions.

use std::net::IpAddr;
use std::time::Duration;

use chrono::{DateTime, Utc};
use clap::Args;
use diesel::QueryResult;
use diesel_async::AsyncPgConnection;
use schema::browse::{Filter, Page};
use schema::ids::SessionId;
use schema::sessions::Session;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::filter::{FilterArgs, InvalidArgument, parse};
use crate::device::device;
use crate::domain::Network;
use crate::domain::Transport;

/// The default number of sessions in a page. In the order `activity`, this is also the maximum
/// number, and there is only one page, because each page would have to read all matching sessions.
const LIMIT: u16 = 200;
/// The maximum number of sessions in a page.
const MAX_LIMIT: u16 = 1000;

/// The arguments of a list as text.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "List")]
pub(crate) struct ListQuery {
    /// Order of the list: `newest` lists the newest sessions first; `activity` lists the most
    /// recently used sessions first, and has no further pages [default: newest]
    #[arg(long)]
    pub(crate) order: Option<String>,
    /// Maximum number of sessions: 1 to 1000, or 1 to 200 with `--order activity` [default: 200]
    #[arg(long)]
    pub(crate) limit: Option<String>,
    /// Show the page after this session, which is the last session of the previous page
    #[arg(long, value_name = "SESSION_ID")]
    pub(crate) after: Option<String>,
}

/// A validated query for a list.
#[derive(Clone, Debug)]
pub(crate) struct Listing {
    filter: Filter,
    order: Order,
}

#[derive(Clone, Copy, Debug)]
enum Order {
    Newest(Page),
    Activity { limit: u16 },
}

impl ListQuery {
    /// Parses the arguments. `now` is the database's time.
    pub(crate) fn parse(
        &self,
        filters: &FilterArgs,
        network: Network,
        now: DateTime<Utc>,
    ) -> Result<Listing, InvalidArgument> {
        let by_activity =
            parse("order", self.order.as_ref(), "newest or activity", |text| match text {
                "newest" => Some(false),
                "activity" => Some(true),
                _ => None,
            })?;
        let by_activity = by_activity.unwrap_or_default();
        let (max_limit, expected) = if by_activity {
            (LIMIT, "a number from 1 to 200")
        } else {
            (MAX_LIMIT, "a number from 1 to 1000")
        };
        let limit = parse("limit", self.limit.as_ref(), expected, |text| {
            text.parse().ok().filter(|limit| (1..=max_limit).contains(limit))
        })?;
        let limit = limit.unwrap_or(LIMIT);
        let after =
            parse("after", self.after.as_ref(), "the `next` of the previous page", |text| {
                Uuid::try_parse(text).map(SessionId).ok()
            })?;
        let order = match (by_activity, after) {
            (true, Some(_)) => {
                return Err(InvalidArgument {
                    field: "after",
                    expected: "no value, because the order activity has no pages",
                });
            }
            (true, None) => Order::Activity { limit },
            (false, after) => Order::Newest(Page { limit, after }),
        };
        Ok(Listing { filter: filters.parse(network, now)?, order })
    }
}

impl Listing {
    /// Returns the name of the query in the metrics.
    pub(crate) fn query(&self) -> &'static str {
        match self.order {
            Order::Newest(_) => "browse_sessions",
            Order::Activity { .. } => "browse_by_activity",
        }
    }

    /// Returns the value of the parameter `order`.
    pub(crate) fn order(&self) -> &'static str {
        match self.order {
            Order::Newest(_) => "newest",
            Order::Activity { .. } => "activity",
        }
    }

    /// Reads the list. A statement that takes longer than `timeout` fails.
    pub(crate) async fn read(
        &self,
        conn: &mut AsyncPgConnection,
        timeout: Duration,
    ) -> QueryResult<Listed> {
        let (sessions, next) = match self.order {
            Order::Newest(page) => Session::browse(conn, &self.filter, page, timeout).await?,
            Order::Activity { limit } => {
                (Session::browse_by_activity(conn, &self.filter, limit, timeout).await?, None)
            }
        };
        Ok(Listed {
            sessions: sessions.into_iter().map(ListedSession::from).collect(),
            next: next.map(|id| id.0),
        })
    }
}

/// A page of the list.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AdminSessions)]
pub(crate) struct Listed {
    /// The sessions in the requested order.
    #[schema(max_items = 1000)]
    pub(crate) sessions: Vec<ListedSession>,
    /// The value of `after` for the next page. `null` on the last page.
    #[schema(required)]
    pub(crate) next: Option<Uuid>,
}

/// A session in the operators' list.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AdminSession)]
pub(crate) struct ListedSession {
    /// The session's id.
    pub(crate) id: Uuid,
    /// The transport of the session.
    #[schema(value_type = Transport)]
    pub(crate) transport: &'static str,
    /// The device, derived from `user_agent`. `null` if the login had no user agent.
    #[schema(required, examples("Firefox on Windows 10"))]
    pub(crate) device: Option<String>,
    /// The `User-Agent` header of the login.
    #[schema(required, max_length = 256)]
    pub(crate) user_agent: Option<String>,
    /// The IPv4 or IPv6 address that the login came from.
    #[schema(required, value_type = Option<String>, examples("203.0.113.7"))]
    pub(crate) ip: Option<IpAddr>,
    /// When the session was created, by a login.
    pub(crate) created_at: DateTime<Utc>,
    /// When the session was last used. For transport `token`, this is the time of the last refresh.
    /// For transport `cookie`, this is the time of the last request, recorded at most once a
    /// minute.
    pub(crate) last_seen_at: DateTime<Utc>,
    /// When the session expires. Each use can extend this time (sliding expiration).
    pub(crate) expires_at: DateTime<Utc>,
    /// The account that the session belongs to.
    pub(crate) account: ListedAccount,
}

/// The account of a session in the operators' list.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AdminAccount)]
pub(crate) struct ListedAccount {
    /// The account's id.
    pub(crate) id: Uuid,
    /// The issuer of the subject: the network of the wallet (CAIP-2).
    #[schema(examples("stellar:pubnet"))]
    pub(crate) issuer: String,
    /// The subject: the wallet's address.
    pub(crate) subject: String,
    /// When the account was created, by its first login.
    pub(crate) created_at: DateTime<Utc>,
}

impl From<Session> for ListedSession {
    fn from(session: Session) -> Self {
        Self {
            id: session.id.0,
            transport: Transport::of(&session).as_str(),
            device: session.user_agent.as_deref().map(device),
            user_agent: session.user_agent,
            ip: session.ip,
            created_at: session.created_at,
            last_seen_at: session.last_seen_at,
            expires_at: session.expires_at,
            account: ListedAccount {
                id: session.account.id.0,
                issuer: session.account.issuer,
                subject: session.account.subject,
                created_at: session.account.created_at,
            },
        }
    }
}
