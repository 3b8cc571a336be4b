use super::say;
use crate::config::Options;

pub(super) const EXAMPLE: &str = "Example:
  auth-api config --session-limit 3 | grep SESSION";

pub(super) fn run(options: &Options) -> anyhow::Result<()> {
    say(options.check()?.to_string().trim_end());
    Ok(())
}
