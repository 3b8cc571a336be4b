use clap::{Args, ValueEnum};
use serde::Serialize;

use super::say;

/// What is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people.
    #[default]
    Table,
    /// For programs; of operators' commands what the HTTP API answers.
    Json,
}

/// Whom a result is printed for.
#[derive(Args, Clone, Copy, Debug)]
pub(super) struct OutputOption {
    /// For people, or for programs
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

impl OutputOption {
    /// Prints a result one way or the other.
    pub(super) fn print(
        self,
        answer: &impl Serialize,
        for_people: impl FnOnce() -> String,
    ) -> anyhow::Result<()> {
        match self.output {
            Output::Table => say(for_people()),
            Output::Json => say(serde_json::to_string_pretty(answer)?),
        }
        Ok(())
    }
}
