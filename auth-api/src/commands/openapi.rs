use super::say;
use crate::routes::contract;

pub(super) const EXAMPLE: &str = "Example:
  auth-api openapi > openapi.json";

pub(super) fn run() -> anyhow::Result<()> {
    say(contract::to_keep()?.trim_end());
    Ok(())
}
