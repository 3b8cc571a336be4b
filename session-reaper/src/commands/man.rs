//! `man`: manual pages.

use std::path::{Path, PathBuf};
use std::{fs, io};

use clap::CommandFactory as _;

use crate::cli::Cli;

/// Pages that could not be written.
#[derive(Debug, thiserror::Error)]
#[error("{directory}: the manual pages cannot be written there: {why}")]
pub struct Unwritten {
    directory: PathBuf,
    why: io::Error,
}

/// Writes one page for each command, `session-reaper.1` for all together.
pub fn man(directory: &Path) -> Result<(), Unwritten> {
    fs::create_dir_all(directory)
        // `help` needs no page: each command has one.
        .and_then(|()| {
            clap_mangen::generate_to(Cli::command().disable_help_subcommand(true), directory)
        })
        .map_err(|why| Unwritten { directory: directory.to_owned(), why })
}
