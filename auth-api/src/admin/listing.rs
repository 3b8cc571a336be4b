//! The list of live sessions: newest first in pages, or those that were used last.

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

use super::filter::{Meaningless, Words, parse};
use crate::config::Network;
use crate::device::device;
use crate::http::caller::Transport;

/// Sessions in an answer, unless it is asked for another number; and at the most of those that were
/// used last, for which all that match are read: to look at, not to be gone through.
const LIMIT: u16 = 200;
/// Sessions in a page at the most.
const MOST: u16 = 1000;

/// What of a list is asked for, as it was written.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "List")]
pub(crate) struct ListQuery {
    /// `newest` first, or `activity`: those that were used last, without further pages [default:
    /// newest]
    #[arg(long)]
    pub(crate) order: Option<String>,
    /// Sessions at the most, from 1 to 1000, by activity to 200 [default: 200]
    #[arg(long)]
    pub(crate) limit: Option<String>,
    /// The page after the one that ended with this session
    #[arg(long, value_name = "SESSION_ID")]
    pub(crate) after: Option<String>,
}

/// A list that can be read.
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
    /// What is asked of the database. `now` is the database's time.
    pub(crate) fn parse(
        &self,
        words: &Words,
        network: Network,
        now: DateTime<Utc>,
    ) -> Result<Listing, Meaningless> {
        let by_activity =
            parse("order", self.order.as_ref(), "newest or activity", |text| match text {
                "newest" => Some(false),
                "activity" => Some(true),
                _ => None,
            })?;
        let by_activity = by_activity.unwrap_or_default();
        let (most, numbers) = if by_activity {
            (LIMIT, "a number from 1 to 200")
        } else {
            (MOST, "a number from 1 to 1000")
        };
        let limit = parse("limit", self.limit.as_ref(), numbers, |text| {
            text.parse().ok().filter(|limit| (1..=most).contains(limit))
        })?;
        let limit = limit.unwrap_or(LIMIT);
        let after = parse("after", self.after.as_ref(), "the `next` of the page before", |text| {
            Uuid::try_parse(text).map(SessionId).ok()
        })?;
        let order = match (by_activity, after) {
            (true, Some(_)) => {
                return Err(Meaningless {
                    field: "after",
                    expected: "nothing: by activity there are no pages",
                });
            }
            (true, None) => Order::Activity { limit },
            (false, after) => Order::Newest(Page { limit, after }),
        };
        Ok(Listing { filter: words.parse(network, now)?, order })
    }
}

impl Listing {
    /// Its name among the queries.
    pub(crate) fn query(&self) -> &'static str {
        match self.order {
            Order::Newest(_) => "browse_sessions",
            Order::Activity { .. } => "browse_by_activity",
        }
    }

    /// As it stands in a request.
    pub(crate) fn order(&self) -> &'static str {
        match self.order {
            Order::Newest(_) => "newest",
            Order::Activity { .. } => "activity",
        }
    }

    /// Reads it. A statement that takes longer than `within` fails.
    pub(crate) async fn read(
        &self,
        conn: &mut AsyncPgConnection,
        within: Duration,
    ) -> QueryResult<Listed> {
        let (sessions, next) = match self.order {
            Order::Newest(page) => Session::browse(conn, &self.filter, page, within).await?,
            Order::Activity { limit } => {
                (Session::browse_by_activity(conn, &self.filter, limit, within).await?, None)
            }
        };
        Ok(Listed {
            sessions: sessions.into_iter().map(ListedSession::from).collect(),
            next: next.map(|id| id.0),
        })
    }
}

/// A list, as operators see it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AdminSessions)]
pub(crate) struct Listed {
    /// In the order that was asked for.
    #[schema(max_items = 1000)]
    pub(crate) sessions: Vec<ListedSession>,
    /// Where the next page begins (`after`); `null`: this was the last.
    #[schema(required)]
    pub(crate) next: Option<Uuid>,
}

/// A session, as operators see it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AdminSession)]
pub(crate) struct ListedSession {
    /// Its id.
    pub(crate) id: Uuid,
    /// What carries it.
    #[schema(value_type = Transport)]
    pub(crate) transport: &'static str,
    /// Made from the user agent.
    #[schema(required, examples("Firefox on Windows 10"))]
    pub(crate) device: Option<String>,
    /// Of the login, as it was sent.
    #[schema(required, max_length = 256)]
    pub(crate) user_agent: Option<String>,
    /// Where the login came from: IPv4 or IPv6.
    #[schema(required, value_type = Option<String>, examples("203.0.113.7"))]
    pub(crate) ip: Option<IpAddr>,
    /// When the login was.
    pub(crate) created_at: DateTime<Utc>,
    /// The last rotation of its refresh token, or, by cookie, the last request, to the minute.
    pub(crate) last_seen_at: DateTime<Utc>,
    /// Its end, unless it is used before: it slides.
    pub(crate) expires_at: DateTime<Utc>,
    /// Whose it is.
    pub(crate) account: ListedAccount,
}

/// Whose it is.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AdminAccount)]
pub(crate) struct ListedAccount {
    /// Its id.
    pub(crate) id: Uuid,
    /// Who vouches for the subject: the network of the wallet (CAIP-2).
    #[schema(examples("stellar:pubnet"))]
    pub(crate) issuer: String,
    /// The wallet's address.
    pub(crate) subject: String,
    /// When it logged in for the first time.
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
