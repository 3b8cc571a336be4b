//! `discover`: prints a proposed `reaper.toml`.

use pg::connect::ConnectOptions;

use super::print;
use crate::config::Output;
use crate::discover::{self, DiscoverError};
use reaper::Exit;

/// Prints the proposed targets.
pub async fn discover(connect: &ConnectOptions, output: Output) -> Exit {
    match discover::discover(connect).await {
        Ok(findings) => {
            match output {
                Output::Text => print(&findings.config),
                Output::Json => {
                    print(&format!("{}\n", serde_json::to_string(&findings).unwrap_or_default()));
                }
            }
            Exit::Done
        }
        Err(error) => {
            tracing::error!(event = "discover_failed", %error, "discovery failed");
            if matches!(error, DiscoverError::Connect(_)) {
                Exit::Unreachable
            } else {
                Exit::Failed
            }
        }
    }
}
