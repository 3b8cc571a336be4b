//! Small files that hold what must not be half there: replaced as a whole, or not at all.

use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, chown};
use std::path::Path;

use secrecy::zeroize::Zeroizing;
use tempfile::NamedTempFile;

/// Puts `content` in the place of a file, which keeps its owner and mode; a new one is readable by
/// its owner alone, who is, for root, the directory's. Whoever reads it meanwhile sees the old
/// content or the new.
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

/// Other users of this machine may change a file that decides who is let in.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error(
    "other users may write it (mode {0:04o}), and choose what is in it: take that away with `chmod o-w`"
)]
pub(crate) struct WritableByOthers(u32);

const OTHERS_READ: u32 = 0o004;
const OTHERS_WRITE: u32 = 0o002;
const STICKY: u32 = 0o1000;

/// Reads a file of secrets. One that others may write is refused, one that others may read is
/// warned of.
pub(crate) fn read_secret(path: &Path) -> io::Result<Zeroizing<String>> {
    let mut file = File::open(path)?;
    let metadata = file.metadata()?;
    refuse_writable(&metadata)?;
    if metadata.is_file() && metadata.mode() & OTHERS_READ != 0 {
        let mode = format!("{:04o}", metadata.mode() & PERMISSIONS);
        tracing::warn!(
            event = "secret_file_readable", path = %path.display(), mode,
            "secret file is readable by other users; run `chmod o-r` on it");
    }
    let mut text = Zeroizing::new(String::new());
    file.read_to_string(&mut text)?;
    Ok(text)
}

const PERMISSIONS: u32 = 0o7777;

/// Refuses a file, or a directory of files, that others may write. Pipes and devices are not
/// anybody's to prepare. A directory with the sticky bit is accepted: the volumes of Kubernetes
/// have that mode, and are mounted for reading only.
pub(crate) fn refuse_writable(metadata: &Metadata) -> io::Result<()> {
    let stored = metadata.is_file() || (metadata.is_dir() && metadata.mode() & STICKY == 0);
    if stored && metadata.mode() & OTHERS_WRITE != 0 {
        return Err(io::Error::other(WritableByOthers(metadata.mode() & PERMISSIONS)));
    }
    Ok(())
}

/// Whether a file was deleted: its name is gone from a directory that exists and can be listed.
///
/// Nothing else counts. A directory that is missing or unreadable, a disk that fails and a link
/// that leads nowhere say nothing of what the operator wants.
pub(crate) fn is_deleted(path: &Path) -> bool {
    let missing =
        matches!(path.symlink_metadata(), Err(error) if error.kind() == ErrorKind::NotFound);
    let listed = || {
        let mut entries = fs::read_dir(directory_of(path))?;
        entries.try_fold(false, |found, entry| {
            Ok(found || Some(&*entry?.file_name()) == path.file_name())
        })
    };
    missing && matches!(listed(), io::Result::Ok(false))
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

/// A file of its owner alone. What root makes belongs to whom the directory belongs: that one is to
/// read it.
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
