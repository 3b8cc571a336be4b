use std::time::Duration;

use anyhow::Context as _;
use chrono::{DateTime, SecondsFormat, Utc};
use clap::Args;
use comfy_table::{ContentArrangement, Table, presets};
use schema::sessions::database_now;

use crate::admin::filter::FilterArgs;
use crate::admin::listing::{self, Listed, ListedSession};
use crate::audit::{self, Operator};
use crate::commands::output::OutputOption;
use crate::config::Options;

pub(super) const EXAMPLE: &str = "Examples:
  auth-api admin sessions --transport cookie --younger-than 1d
  auth-api admin sessions --order activity --limit 20
  auth-api admin sessions --ip 203.0.113.0/24 --output json";

#[derive(Args, Debug)]
pub(in crate::commands) struct Request {
    #[command(flatten)]
    output: OutputOption,
    #[command(flatten)]
    filters: FilterArgs,
    #[command(flatten)]
    listing: listing::ListQuery,
    #[command(flatten)]
    options: Box<Options>,
}

/// The time limit of the query. It is longer than the limit of the HTTP API, because no proxy in
/// front of the command can time out.
const TIMEOUT: Duration = Duration::from_secs(30);

pub(super) async fn run(request: &Request) -> anyhow::Result<()> {
    let config = request.options.check_accounts()?;
    let mut connection = config.database.open().await?;
    let now = database_now(&mut connection).await?;
    let listing = request.listing.parse(&request.filters, config.network, now)?;
    let listed = listing
        .read(&mut connection, TIMEOUT)
        .await
        .context("reading the list failed; if it timed out after 30 s, use a narrower filter")?;
    audit::admin_list(Operator::Shell, listing.order(), &request.filters, listed.sessions.len());
    request.output.print(&listed, || table(&listed))
}

fn table(Listed { sessions, next }: &Listed) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header([
        "SESSION",
        "ACCOUNT",
        "TRANSPORT",
        "DEVICE",
        "IP",
        "CREATED",
        "LAST SEEN",
        "EXPIRES",
    ]);
    table.add_rows(sessions.iter().map(row));
    let more = next.map(|last| format!("\nthere are more: --after {last}")).unwrap_or_default();
    format!("{}{more}", table.trim_fmt())
}

fn row(session: &ListedSession) -> [String; 8] {
    let time = |time: DateTime<Utc>| time.to_rfc3339_opts(SecondsFormat::Secs, true);
    [
        session.id.to_string(),
        printable(&session.account.subject),
        session.transport.to_owned(),
        session.device.as_deref().map(printable).unwrap_or_default(),
        session.ip.map(|ip| ip.to_string()).unwrap_or_default(),
        time(session.created_at),
        time(session.last_seen_at),
        time(session.expires_at),
    ]
}

/// Removes control characters, so that text from a client cannot control the terminal.
fn printable(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).collect()
}
