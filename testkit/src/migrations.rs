//! The migrations in the folder `migrations/`. There are two sets. Both are applied with the
//! reaper's migration runner, so that tests of session-reaper can be built without Diesel.

use std::path::Path;

use reaper::store::migrate::Migration;

/// The folders of the two sets.
pub const SETS: [&str; 2] = ["auth", "reaper"];

/// Returns the migrations of a set, oldest first.
///
/// # Panics
///
/// If a file cannot be read.
#[must_use]
pub fn read(set: &str) -> Vec<Migration<'static>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../migrations").join(set);
    let mut folders: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    let read = |folder: &Path| {
        // Leaking the text is harmless, because a test process reads only a few files, and only
        // once.
        let text = |name: &str| &*std::fs::read_to_string(folder.join(name)).unwrap().leak();
        let metadata = std::fs::read_to_string(folder.join("metadata.toml")).unwrap_or_default();
        Migration {
            name: folder.file_name().unwrap().to_str().unwrap().to_owned().leak(),
            up: text("up.sql"),
            down: text("down.sql"),
            in_transaction: !metadata.contains("run_in_transaction = false"),
        }
    };
    folders.iter().map(|folder| read(folder)).collect()
}
