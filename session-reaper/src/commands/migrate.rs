//! `migrate`: creates or upgrades the reaper's own tables.

use pg::connect::ConnectOptions;
use reaper::store::migrate::{self, MigrateError};

use super::print;
use reaper::Exit;

/// Applies the missing migrations and prints their versions.
pub async fn migrate(connect: &ConnectOptions) -> Exit {
    match migrate::run(connect).await {
        Ok(applied) if applied.is_empty() => {
            print("nothing was missing\n");
            Exit::Done
        }
        Ok(applied) => {
            for version in applied {
                print(&format!("applied {version}\n"));
            }
            Exit::Done
        }
        Err(error) => {
            tracing::error!(event = "migrate_failed", %error, "migration failed");
            if matches!(error, MigrateError::Connect(_)) { Exit::Unreachable } else { Exit::Failed }
        }
    }
}
