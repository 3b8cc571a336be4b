use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

/// Whom PostgreSQL and PgBouncer run as, which refuse to run as root: us, or when we are root
/// `postgres` or `nobody`.
#[derive(Clone, Copy)]
pub(crate) struct Unprivileged {
    instead: Option<(u32, u32)>,
}

impl Unprivileged {
    pub(crate) fn user() -> Self {
        if id("-u", None) != Some(0) {
            return Self { instead: None };
        }
        let user = ["postgres", "nobody"].into_iter().find(|user| id("-u", Some(user)).is_some());
        let number = |flag| id(flag, user).expect("neither a user `postgres` nor `nobody` is here");
        Self { instead: Some((number("-u"), number("-g"))) }
    }

    /// A command of that user's, from a directory that everybody may look at.
    pub(crate) fn command(self, program: &Path, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(args).current_dir("/");
        if let Some((user, group)) = self.instead {
            command.uid(user).gid(group);
        }
        command
    }

    /// A directory of that user's, for nobody else.
    pub(crate) fn directory(self) -> TempDir {
        let directory = TempDir::new().unwrap();
        self.give(directory.path());
        directory
    }

    /// Makes a file or a directory that user's.
    pub(crate) fn give(self, path: &Path) {
        if let Some((user, group)) = self.instead {
            chown(path, Some(user), Some(group)).unwrap();
        }
    }
}

fn id(flag: &str, user: Option<&str>) -> Option<u32> {
    let found = Command::new("id").arg(flag).args(user).output().unwrap();
    found.status.success().then(|| String::from_utf8(found.stdout).unwrap().trim().parse().unwrap())
}
