use tokio::signal::unix::{SignalKind, signal};

use crate::app::App;
use crate::config::Options;
use crate::telemetry;

pub(super) const EXAMPLE: &str = "Example:
  DATABASE_URL=postgres://auth_api@localhost/app REDIS_URL=redis://localhost \\
  PUBLIC_URL=https://auth.example.com \\
  AUTH_SECRET_FILE=/run/secrets/auth SIGNING_KEYS_DIR=/run/keys auth-api serve";

pub(super) async fn run(options: &Options) -> anyhow::Result<()> {
    // Install the handler first. Until it is installed, SIGHUP terminates the process.
    let hangups = signal(SignalKind::hangup())?;
    let config = options.check()?;
    let metrics = telemetry::record_metrics()?;
    let app = App::build(&config, metrics.clone(), hangups)?;
    let admin = app.admin_address.map(tracing::field::display);
    tracing::info!(event = "listening", api = %app.api_address, ops = %app.operations_address, admin, public_url = config.public_url.uri, "listening");
    app.run(move || metrics.run_upkeep()).await
}
