//! A file for `node_exporter`'s textfile collector.

use std::fs::{self, File, Permissions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::thread;
use std::time::Duration;

use tempfile::Builder;

use super::exposition::Exposition;

/// The collector runs as somebody else, and there are no secrets in it.
const READABLE: u32 = 0o644;

/// How often to look whether another run is done with the file, and how long in between: it takes
/// one some milliseconds.
const LOOKS: u32 = 100;
const BETWEEN: Duration = Duration::from_millis(50);

/// Writes what was measured, going on from what is in the file. Aside, under a name that the
/// collector does not read, and then renamed: nobody sees half of it.
pub(super) fn write(path: &Path, measured: &str, targets: &[&str]) -> io::Result<()> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    // Held from the look at the old numbers to the new ones: another run's success between the two
    // would be lost.
    let held = File::open(directory).map_err(|error| {
        io::Error::new(error.kind(), format!("{}: {error}", directory.display()))
    })?;
    lock(&held)?;
    let before = match fs::read_to_string(path) {
        Ok(text) => Exposition::parse(&text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Exposition::default(),
        Err(error) => {
            tracing::warn!(event = "textfile_unreadable", %error, textfile = %path.display(), "existing metrics file cannot be read; counters restart from zero");
            Exposition::default()
        }
    };
    let text = Exposition::parse(measured).lasting().going_on_from(&before, targets).text();

    let mut aside =
        Builder::new().prefix(".session-reaper.").suffix(".tmp").tempfile_in(directory)?;
    aside.write_all(text.as_bytes())?;
    // In spite of the umask.
    aside.as_file().set_permissions(Permissions::from_mode(READABLE))?;
    // Else a machine that crashes may come back with an empty file of that name.
    aside.as_file().sync_all()?;
    aside.persist(path)?;
    held.sync_all()
}

fn lock(directory: &File) -> io::Result<()> {
    for _ in 0..LOOKS {
        match directory.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) => thread::sleep(BETWEEN),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
    Err(io::Error::new(io::ErrorKind::TimedOut, "somebody else keeps its directory locked"))
}
