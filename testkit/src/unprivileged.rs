use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

/// The user that runs PostgreSQL and PgBouncer, which both refuse to run as root. This is the
/// current user. If the current user is root, it is `postgres` or `nobody`.
#[derive(Clone, Copy)]
pub(crate) struct Unprivileged {
    other: Option<(u32, u32)>,
}

impl Unprivileged {
    pub(crate) fn user() -> Self {
        if id("-u", None) != Some(0) {
            return Self { other: None };
        }
        let user = ["postgres", "nobody"].into_iter().find(|user| id("-u", Some(user)).is_some());
        let number = |flag| id(flag, user).expect("no user `postgres` or `nobody` exists");
        Self { other: Some((number("-u"), number("-g"))) }
    }

    /// Returns a command that runs as that user, in a directory that every user can read.
    pub(crate) fn command(self, program: &Path, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(args).current_dir("/");
        if let Some((user, group)) = self.other {
            command.uid(user).gid(group);
        }
        command
    }

    /// Creates a directory that only this user can access.
    pub(crate) fn directory(self) -> TempDir {
        let directory = TempDir::new().unwrap();
        self.give(directory.path());
        directory
    }

    /// Makes that user the owner of a file or directory.
    pub(crate) fn give(self, path: &Path) {
        if let Some((user, group)) = self.other {
            chown(path, Some(user), Some(group)).unwrap();
        }
    }
}

fn id(flag: &str, user: Option<&str>) -> Option<u32> {
    let found = Command::new("id").arg(flag).args(user).output().unwrap();
    found.status.success().then(|| String::from_utf8(found.stdout).unwrap().trim().parse().unwrap())
}
