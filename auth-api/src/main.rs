//! The program `auth-api`. Run `auth-api --help` for usage. The documentation of the library
//! explains how the program works.

use std::process::ExitCode;

use auth_api::commands::{self, Cli};
use auth_api::telemetry;

/// The memory allocator. A request makes about a hundred small allocations, on any of the threads,
/// so a fast allocator is noticeable.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    let cli = match Cli::read() {
        Ok(cli) => cli,
        Err(error) => return commands::fail(&error.into()),
    };
    if let Err(error) = telemetry::log_to_stderr(cli.log_format()) {
        return commands::fail(&error);
    }
    match commands::run(cli).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => commands::fail(&error),
    }
}
