//! `man`: writes manual pages.

use std::path::{Path, PathBuf};
use std::{fs, io};

use clap::CommandFactory as _;

use crate::cli::Cli;

/// An error while writing the manual pages.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the manual pages to {directory}: {why}")]
pub struct Unwritten {
    directory: PathBuf,
    why: io::Error,
}

/// Writes one page per subcommand, and `session-reaper.1` for the program.
pub fn man(directory: &Path) -> Result<(), Unwritten> {
    fs::create_dir_all(directory)
        // The subcommand `help` needs no page.
        .and_then(|()| {
            clap_mangen::generate_to(Cli::command().disable_help_subcommand(true), directory)
        })
        .map_err(|why| Unwritten { directory: directory.to_owned(), why })
}
