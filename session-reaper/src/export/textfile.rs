//! Writes a file for `node_exporter`'s textfile collector.

use std::fs::{self, File, Permissions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::thread;
use std::time::Duration;

use tempfile::Builder;

use super::exposition::Exposition;

/// The file mode. The collector runs as another user, and the file contains no secrets.
const READABLE: u32 = 0o644;

/// Number of attempts to lock the directory of the file. The next constant is the delay between two
/// attempts. Another run holds the lock for only a few milliseconds.
const LOOKS: u32 = 100;
const BETWEEN: Duration = Duration::from_millis(50);

/// Adds the measured metrics to the metrics in the file, and writes the result. The file is written
/// under a name that the collector ignores and then renamed, so that a partial file is never
/// visible.
pub(super) fn write(path: &Path, measured: &str, targets: &[&str]) -> io::Result<()> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    // The lock is held from the time when the old values are read until the new values have been
    // written. Otherwise, the values of another run that ends in between would be lost.
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
    let text = Exposition::parse(measured).lasting().continued_from(&before, targets).text();

    let mut aside =
        Builder::new().prefix(".session-reaper.").suffix(".tmp").tempfile_in(directory)?;
    aside.write_all(text.as_bytes())?;
    // Set the mode explicitly, regardless of the umask.
    aside.as_file().set_permissions(Permissions::from_mode(READABLE))?;
    // Without the sync, a crash of the machine may leave an empty file with this name.
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
    Err(io::Error::new(io::ErrorKind::TimedOut, "another process keeps the directory locked"))
}
