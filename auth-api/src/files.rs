//! Reads and replaces small files, such as secrets. A file is replaced as a whole or not at all.

use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, chown};
use std::path::Path;

use secrecy::zeroize::Zeroizing;
use tempfile::NamedTempFile;

/// Replaces the content of a file. Concurrent readers see either the old or the new content. An
/// existing file keeps its owner and mode. A new file can be read only by its owner. If root
/// creates the file, the file belongs to the owner of the directory.
pub(crate) fn replace(path: &Path, content: &str) -> io::Result<()> {
    // Follow a symbolic link: replace its target and keep the link.
    let path = &if path.is_symlink() { path.canonicalize()? } else { path.to_owned() };
    let mut file = temporary_beside(path)?;
    file.write_all(content.as_bytes())?;
    if let Ok(old) = path.metadata() {
        file.as_file().set_permissions(old.permissions())?;
        copy_owner(&file, &old)?;
    }
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

/// The error for a file that controls access and that other users of this machine can change.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error(
    "other users can write to it (mode {0:04o}) and so choose its content; run `chmod o-w` on it"
)]
pub(crate) struct WritableByOthers(u32);

const OTHERS_READ: u32 = 0o004;
const OTHERS_WRITE: u32 = 0o002;
const STICKY: u32 = 0o1000;

/// Reads a file of secrets. Fails if other users can write to it, and logs a warning if other users
/// can read it.
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

/// Returns an error for a file, or a directory of files, that other users can write to. Pipes and
/// devices are accepted, because other users cannot set their content in advance. A directory with
/// the sticky bit is accepted, because Kubernetes volumes have that mode and are mounted read-only.
pub(crate) fn refuse_writable(metadata: &Metadata) -> io::Result<()> {
    let stored = metadata.is_file() || (metadata.is_dir() && metadata.mode() & STICKY == 0);
    if stored && metadata.mode() & OTHERS_WRITE != 0 {
        return Err(io::Error::other(WritableByOthers(metadata.mode() & PERMISSIONS)));
    }
    Ok(())
}

/// Returns whether a file was deleted, that is, whether its name is missing from a directory that
/// exists and can be listed.
///
/// Nothing else counts as a deletion. A missing or unreadable directory, a failing disk and a
/// dangling symbolic link do not show what the operator intended.
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

/// Locks the directory of a file until the returned handle is dropped, so that other processes
/// cannot read and replace the file in the meantime.
pub(crate) fn lock(path: &Path) -> io::Result<File> {
    let directory = File::open(directory_of(path))?;
    directory.lock()?;
    Ok(directory)
}

/// Creates a file with the same guarantees as [`replace`]. Fails if the file exists.
pub(crate) fn create(path: &Path, content: &str) -> io::Result<()> {
    let mut file = temporary_beside(path)?;
    file.write_all(content.as_bytes())?;
    file.as_file().sync_all()?;
    file.persist_noclobber(path)?;
    Ok(())
}

/// Creates a temporary file in the directory of `path`. Only the owner of the file can access it.
/// If root creates the file, the file belongs to the owner of the directory, who must be able to
/// read it.
fn temporary_beside(path: &Path) -> io::Result<NamedTempFile> {
    let directory = directory_of(path);
    let file = tempfile::Builder::new().prefix(".").suffix(".new").tempfile_in(directory)?;
    if file.as_file().metadata()?.uid() == ROOT {
        copy_owner(&file, &directory.metadata()?)?;
    }
    Ok(file)
}

const ROOT: u32 = 0;

fn copy_owner(file: &NamedTempFile, other: &Metadata) -> io::Result<()> {
    let own = file.as_file().metadata()?;
    if (own.uid(), own.gid()) != (other.uid(), other.gid()) {
        chown(file.path(), Some(other.uid()), Some(other.gid()))?;
    }
    Ok(())
}

fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|directory| !directory.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
