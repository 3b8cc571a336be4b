//! A wrong clock for a program.

use std::path::PathBuf;

/// Returns the path of the library that gives a program another clock: `LIBFAKETIME`, or the installed one.
#[must_use]
pub fn libfaketime() -> String {
    if let Ok(path) = std::env::var("LIBFAKETIME") {
        return path;
    }
    let directories = std::fs::read_dir("/usr/lib").unwrap().map(|entry| entry.unwrap().path());
    let path: Option<PathBuf> =
        directories.map(|directory| directory.join("faketime/libfaketimeMT.so.1")).find(|path| path.exists());
    path.expect("libfaketime is missing: run `make test`, or set LIBFAKETIME").to_str().unwrap().to_owned()
}
