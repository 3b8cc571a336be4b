use schema::migrate;

use super::say;
use crate::config::DatabaseOptions;

pub(super) const EXAMPLE: &str = "Example:
  DATABASE_URL=postgres://owner@localhost/app auth-api migrate";

pub(super) async fn run(options: &DatabaseOptions) -> anyhow::Result<()> {
    let database = options.check()?;
    let applied = migrate::run(&database.owner).await?;
    if applied.is_empty() {
        say("nothing to do: all migrations are already applied");
    }
    for version in applied {
        say(format_args!("applied {version}"));
    }
    Ok(())
}
