//! Runs a program with a wrong clock.

use std::path::{Path, PathBuf};

/// Returns the path of libfaketime, which changes the clock of a program: `LIBFAKETIME`, or the
/// installed library.
#[must_use]
pub fn libfaketime() -> String {
    if let Ok(path) = std::env::var("LIBFAKETIME") {
        return path;
    }
    let directories = std::fs::read_dir("/usr/lib").unwrap().map(|entry| entry.unwrap().path());
    let path: Option<PathBuf> = directories
        .map(|directory| directory.join("faketime/libfaketimeMT.so.1"))
        .find(|path| path.exists());
    path.expect("libfaketime is missing: run `make test`, or set LIBFAKETIME")
        .to_str()
        .unwrap()
        .to_owned()
}

/// Removes what libfaketime leaves in shared memory when the program is killed.
pub(crate) fn remove_shared_memory(pid: u32) {
    for name in [format!("faketime_shm_{pid}"), format!("sem.faketime_sem_{pid}")] {
        // A program that uses the system clock leaves nothing.
        let _ = std::fs::remove_file(Path::new("/dev/shm").join(name));
    }
}
