//! Priorities of log lines in the systemd journal.
#![allow(
    clippy::unwrap_used,
    missing_docs,
    reason = "a test fails by panicking, and is its own documentation"
)]

use std::os::unix::fs::MetadataExt as _;
use std::process::Command;

use testkit::binary;

/// Runs `check` without a database. Returns its log. If `is_journal` is `true`, `JOURNAL_STREAM`
/// names the file to which standard error is connected; otherwise, it names another file.
fn log(format: &str, is_journal: bool) -> String {
    let file = tempfile::NamedTempFile::new().unwrap();
    let metadata = file.as_file().metadata().unwrap();
    let inode = metadata.ino() + u64::from(!is_journal);
    let status = Command::new(binary("session-reaper"))
        .arg("check")
        .env_clear()
        .env("DATABASE_URL", "postgres://127.0.0.1:1/x?connect_timeout=1")
        .env("LOG_FORMAT", format)
        .env("JOURNAL_STREAM", format!("{}:{inode}", metadata.dev()))
        .stderr(file.reopen().unwrap())
        .status()
        .unwrap();
    assert!(!status.success());
    std::fs::read_to_string(file.path()).unwrap()
}

#[test]
fn lines_have_priorities_only_in_the_journal() {
    for format in ["text", "json"] {
        let journal = log(format, true);
        assert!(journal.starts_with("<3>"), "{journal}");
        assert!(journal.lines().all(|line| line.starts_with('<')), "{journal}");
        let other = log(format, false);
        assert!(!other.is_empty() && !other.contains("<3>"), "{other}");
    }
}
