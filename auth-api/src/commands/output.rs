use clap::{Args, ValueEnum};
use serde::Serialize;

use super::say;

/// The format of a result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Output {
    /// Human-readable table
    #[default]
    Table,
    /// JSON for programs; the `admin` commands print the same JSON as the HTTP API
    Json,
}

/// The option that selects the format of a result.
#[derive(Args, Clone, Copy, Debug)]
pub(super) struct OutputOption {
    /// Output format
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

impl OutputOption {
    /// Prints a result in the selected format.
    pub(super) fn print(
        self,
        result: &impl Serialize,
        table: impl FnOnce() -> String,
    ) -> anyhow::Result<()> {
        match self.output {
            Output::Table => say(table()),
            Output::Json => say(serde_json::to_string_pretty(result)?),
        }
        Ok(())
    }
}
