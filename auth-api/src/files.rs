//! Small files that hold what must not be half there: replaced as a whole, or not at all.

use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, chown};
use std::path::Path;

use tempfile::NamedTempFile;

/// Puts `content` in the place of a file, which keeps its owner and mode; a new one is readable by its owner alone. Whoever
/// reads it meanwhile sees the old content or the new.
pub(crate) fn replace(path: &Path, content: &str) -> io::Result<()> {
    // A link is followed: what it points to is replaced, and it stays.
    let path = &if path.is_symlink() { path.canonicalize()? } else { path.to_owned() };
    let mut file = beside(path)?;
    file.write_all(content.as_bytes())?;
    if let Ok(old) = path.metadata() {
        file.as_file().set_permissions(old.permissions())?;
        let new = file.as_file().metadata()?;
        if (new.uid(), new.gid()) != (old.uid(), old.gid()) {
            chown(file.path(), Some(old.uid()), Some(old.gid()))?;
        }
    }
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

/// The same for a file that must not be there yet.
pub(crate) fn create(path: &Path, content: &str) -> io::Result<()> {
    let mut file = beside(path)?;
    file.write_all(content.as_bytes())?;
    file.as_file().sync_all()?;
    file.persist_noclobber(path)?;
    Ok(())
}

fn beside(path: &Path) -> io::Result<NamedTempFile> {
    let directory = path.parent().filter(|directory| !directory.as_os_str().is_empty()).unwrap_or(Path::new("."));
    tempfile::Builder::new().prefix(".").suffix(".new").tempfile_in(directory)
}
