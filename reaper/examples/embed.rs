//! Deletes sign-in links that expired more than an hour ago. Run it with
//! `DATABASE_URL=postgres://localhost/app cargo run -p reaper --example embed`.

use std::time::Duration;

use pg::connect::ConnectOptions;
use reaper::runs::Trigger;
use reaper::{Progress, Reason, Stop, Sweep, TableName, Target};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let connect = ConnectOptions::new(&std::env::var("DATABASE_URL")?, "embed")?;
    let expired = Reason::new("expires_at", Duration::from_hours(1));
    let target = Target::new(TableName::new("signin_links"), vec![expired]);
    let sweep = Sweep::new(connect, vec![target]);
    let (progress, _) = tokio::sync::watch::channel(Progress::default());
    let finished = sweep.run(Trigger::Manual, &Stop::never(), &progress).await?;
    eprintln!("{}: {}", finished.report.outcome.as_str(), finished.report.why);
    std::process::exit(finished.exit.code().into())
}
