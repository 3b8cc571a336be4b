//! Priorities of log lines in the systemd journal.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::process::{Command, Stdio};

use testkit::{AuthApi, binary};

/// Runs `config`, which warns about a secret that all users can read. Returns its log. If
/// `is_journal` is `true`, `JOURNAL_STREAM` names the file to which standard error is connected;
/// otherwise, it names another file.
fn log(format: &str, is_journal: bool) -> String {
    let (secret, log) =
        (tempfile::NamedTempFile::new().unwrap(), tempfile::NamedTempFile::new().unwrap());
    fs::write(secret.path(), AuthApi::SECRET).unwrap();
    fs::set_permissions(secret.path(), Permissions::from_mode(0o644)).unwrap();
    let metadata = log.as_file().metadata().unwrap();
    let inode = metadata.ino() + u64::from(!is_journal);
    let status = Command::new(binary("auth-api"))
        .arg("config")
        .env_clear()
        .env("DATABASE_URL", "postgres://127.0.0.1:1/x")
        .env("REDIS_URL", "redis://127.0.0.1:1")
        .env("PUBLIC_URL", "https://auth.example.test")
        .env("AUTH_SECRET_FILE", secret.path())
        .env("SIGNING_KEYS_DIR", "/keys")
        .env("LOG_FORMAT", format)
        .env("JOURNAL_STREAM", format!("{}:{inode}", metadata.dev()))
        .stdout(Stdio::null())
        .stderr(log.reopen().unwrap())
        .status()
        .unwrap();
    let text = fs::read_to_string(log.path()).unwrap();
    assert!(status.success(), "{text}");
    text
}

#[test]
fn lines_have_priorities_only_in_the_journal() {
    for format in ["text", "json"] {
        let journal = log(format, true);
        assert!(journal.starts_with("<4>"), "{journal}");
        assert!(journal.lines().all(|line| line.starts_with('<')), "{journal}");
        let other = log(format, false);
        assert!(!other.is_empty() && !other.contains("<4>"), "{other}");
    }
}
