//! One file a subcommand.

pub mod check;
pub mod daemon;
pub mod discover;
pub mod init;
pub mod migrate;
pub mod plan;
pub mod run;
pub mod status;

use std::io::Write as _;

/// Prints to standard output. Whoever closed it early (`| head`) does not want the rest.
fn print(text: &str) {
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
}
