//! Small files that hold what must not be half there: replaced as a whole, or not at all.

use std::fs::{File, Metadata};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, chown};
use std::path::Path;

use tempfile::NamedTempFile;

/// Puts `content` in the place of a file, which keeps its owner and mode; a new one is readable by its owner alone, who is, for root, the directory's. Whoever
/// reads it meanwhile sees the old content or the new.
pub(crate) fn replace(path: &Path, content: &str) -> io::Result<()> {
    // A link is followed: what it points to is replaced, and it stays.
    let path = &if path.is_symlink() { path.canonicalize()? } else { path.to_owned() };
    let mut file = beside(path)?;
    file.write_all(content.as_bytes())?;
    if let Ok(old) = path.metadata() {
        file.as_file().set_permissions(old.permissions())?;
        belong_to(&file, &old)?;
    }
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

/// Holds off others who would read a file and replace it, until it is dropped.
pub(crate) fn lock(path: &Path) -> io::Result<File> {
    let directory = File::open(directory_of(path))?;
    directory.lock()?;
    Ok(directory)
}

/// The same for a file that must not be there yet.
pub(crate) fn create(path: &Path, content: &str) -> io::Result<()> {
    let mut file = beside(path)?;
    file.write_all(content.as_bytes())?;
    file.as_file().sync_all()?;
    file.persist_noclobber(path)?;
    Ok(())
}

/// A file of its owner alone. What root makes belongs to whom the directory belongs: that one is to read it.
fn beside(path: &Path) -> io::Result<NamedTempFile> {
    let directory = directory_of(path);
    let file = tempfile::Builder::new().prefix(".").suffix(".new").tempfile_in(directory)?;
    if file.as_file().metadata()?.uid() == ROOT {
        belong_to(&file, &directory.metadata()?)?;
    }
    Ok(file)
}

const ROOT: u32 = 0;

fn belong_to(file: &NamedTempFile, other: &Metadata) -> io::Result<()> {
    let own = file.as_file().metadata()?;
    if (own.uid(), own.gid()) != (other.uid(), other.gid()) {
        chown(file.path(), Some(other.uid()), Some(other.gid()))?;
    }
    Ok(())
}

fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|directory| !directory.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
