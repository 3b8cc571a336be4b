//! `completions`: a shell script that completes the command line.

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::print;
use crate::cli::Cli;

/// Prints the script for `shell`.
pub fn completions(shell: Shell) {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), env!("CARGO_PKG_NAME"), &mut script);
    print(&String::from_utf8_lossy(&script));
}
