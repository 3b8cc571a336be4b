use super::say;
use crate::routes::specification;

pub(super) const EXAMPLE: &str = "Example:
  auth-api openapi > openapi.json";

pub(super) fn run() -> anyhow::Result<()> {
    say(specification::to_pretty_json()?.trim_end());
    Ok(())
}
