use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio_postgres::Client;
use uuid::Uuid;

use crate::database::{connect, with_database};
use crate::unprivileged::Unprivileged;
use crate::{Database, HANG, Program, eventually, free_port};

/// A PostgreSQL server of the test's own, empty, ended with it. It forgets everything when the
/// machine crashes.
///
/// To be declared before the databases on it, so that it ends after them.
pub struct Server {
    program: Program,
    port: u16,
    password: String,
    user: Unprivileged,
    settings: Vec<String>,
    directory: TempDir,
}

/// How [`Server::restart`] stops the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shutdown {
    /// Sessions are ended and everything is written: `pg_ctl stop -m fast`.
    Fast,
    /// Everything stops where it stands, and the next start recovers from the log: `pg_ctl stop -m
    /// immediate`. Commits that did not wait for the log may be undone.
    Immediate,
}

/// A server that follows another one by streaming, through a replication slot.
pub struct Replica {
    server: Server,
    primary: String,
}

/// The role that makes and follows databases, and owns them.
const OWNER: &str = "postgres";

/// Nobody looks at such a server after a crash. Commits wait for the system's cache alone, and then
/// replicas get them. Shared memory lies beside the data and goes with them, even if the server is
/// killed.
const FAST: [&str; 3] = ["fsync=off", "full_page_writes=off", "dynamic_shared_memory_type=mmap"];

impl Server {
    /// Starts one with these settings beside the usual ones, such as `("autovacuum", "off")`. The
    /// programs are those in `PG_BIN`.
    pub async fn start(settings: &[(&str, &str)]) -> Self {
        let user = Unprivileged::user();
        let directory = user.directory();
        let password = Uuid::new_v4().simple().to_string();
        let password_file = directory.path().join("password");
        std::fs::write(&password_file, &password).unwrap();
        user.give(&password_file);

        let data = data_in(&directory);
        let pwfile = format!("--pwfile={}", password_file.display());
        let args = [
            "-D",
            &data,
            "-U",
            OWNER,
            "-A",
            "scram-sha-256",
            &pwfile,
            "-E",
            "UTF8",
            "--no-locale",
            "--no-sync",
        ];
        succeeds(user, "initdb", &args, &[]).await;
        Self::run(user, directory, password, settings).await
    }

    /// Starts a server on the data in `directory`, on another port if somebody was faster on the
    /// first.
    async fn run(
        user: Unprivileged,
        directory: TempDir,
        password: String,
        settings: &[(&str, &str)],
    ) -> Self {
        let data = data_in(&directory);
        let sockets = format!("unix_socket_directories={}", directory.path().display());
        let mut settings: Vec<String> =
            settings.iter().map(|(name, value)| format!("{name}={value}")).collect();
        settings.extend(FAST.map(str::to_owned));
        settings.extend([
            "listen_addresses=127.0.0.1".to_owned(),
            sockets,
            "timezone=UTC".to_owned(),
        ]);
        for _ in 0..5 {
            let port = free_port();
            let port_setting = format!("port={port}");
            let mut args = vec!["-D", &data, "-c", &port_setting];
            args.extend(settings.iter().flat_map(|setting| ["-c", setting]));
            let mut program = Program::spawn(user.command(&program("postgres"), &args), &[]);
            if answers(&mut program, &server_url(&password, port)).await {
                return Self { program, port, password, user, settings, directory };
            }
            assert!(program.stderr().contains("in use"), "{}", program.stderr());
        }
        panic!("no port is left to PostgreSQL");
    }

    /// Stops the server and starts it again, on the same data, port and settings.
    pub async fn restart(&mut self, shutdown: Shutdown) {
        self.program.signal(match shutdown {
            Shutdown::Fast => "INT",
            Shutdown::Immediate => "QUIT",
        });
        self.program.wait().await;
        let (data, port_setting) = (data_in(&self.directory), format!("port={}", self.port));
        let mut args = vec!["-D", &data, "-c", &port_setting];
        args.extend(self.settings.iter().flat_map(|setting| ["-c", setting]));
        self.program = Program::spawn(self.user.command(&program("postgres"), &args), &[]);
        let answered = answers(&mut self.program, &server_url(&self.password, self.port)).await;
        assert!(answered, "{}", self.program.stderr());
    }

    /// Its URL with a superuser's rights; the database is `postgres`.
    #[must_use]
    pub fn url(&self) -> String {
        server_url(&self.password, self.port)
    }

    /// A connection with a superuser's rights to the database `postgres`.
    pub async fn client(&self) -> Client {
        connect(&self.url()).await
    }

    /// A migrated database with the roles, like [`Database::create`].
    pub async fn database(&self) -> Database {
        Database::create_on(self.url()).await
    }

    /// What it has logged until now.
    #[must_use]
    pub fn log(&self) -> String {
        self.program.stderr()
    }

    /// A replica that streams from it, with all that is here now.
    pub async fn replica(&self) -> Replica {
        let slot = format!("r_{}", Uuid::now_v7().simple());
        let directory = self.user.directory();
        let (data, port) = (data_in(&directory), self.port.to_string());
        let args =
            ["-D", &data, "-h", "127.0.0.1", "-p", &port, "-U", OWNER, "-R", "-C", "-S", &slot];
        let quick = ["-X", "stream", "-c", "fast", "--no-sync"];
        succeeds(
            self.user,
            "pg_basebackup",
            &[&args[..], &quick].concat(),
            &[("PGPASSWORD", &self.password)],
        )
        .await;
        let server = Self::run(self.user, directory, self.password.clone(), &[]).await;
        Replica { server, primary: self.url() }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // At once, and yet by its own doing: killed, it would leave its shared memory behind.
        self.program.signal_if_alive("QUIT");
        let deadline = Instant::now() + HANG;
        while !self.program.has_ended() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Replica {
    /// The URL of the replica of this database, with a superuser's rights.
    #[must_use]
    pub fn url_of(&self, database: &Database) -> String {
        with_database(&self.server.url(), database.name())
    }

    /// A connection to the replica itself.
    pub async fn client(&self) -> Client {
        self.server.client().await
    }

    /// Waits until it has replayed all that its primary has written up to now.
    pub async fn catch_up(&self) {
        let primary = connect(&self.primary).await;
        // A commit that waits takes those along that did not (`synchronous_commit = off`).
        primary.execute("SELECT pg_logical_emit_message(true, '', '')", &[]).await.unwrap();
        let written: String =
            primary.query_one("SELECT pg_current_wal_lsn()::text", &[]).await.unwrap().get(0);
        let replica = self.client().await;
        eventually("the replica has caught up", async || {
            let replayed = "SELECT coalesce(pg_last_wal_replay_lsn() >= $1::text::pg_lsn, false)";
            replica.query_one(replayed, &[&written]).await.unwrap().get(0)
        })
        .await;
    }

    /// Lets it fall behind: it still receives, and replays nothing.
    pub async fn pause(&self) {
        let replica = self.client().await;
        replica.execute("SELECT pg_wal_replay_pause()", &[]).await.unwrap();
        eventually("the replica has paused", async || {
            let paused = "SELECT pg_get_wal_replay_pause_state() = 'paused'";
            replica.query_one(paused, &[]).await.unwrap().get(0)
        })
        .await;
    }

    /// Lets it replay again.
    pub async fn resume(&self) {
        self.client().await.execute("SELECT pg_wal_replay_resume()", &[]).await.unwrap();
    }
}

fn server_url(password: &str, port: u16) -> String {
    format!("postgres://{OWNER}:{password}@127.0.0.1:{port}/postgres")
}

fn data_in(directory: &TempDir) -> String {
    directory.path().join("data").to_str().unwrap().to_owned()
}

fn program(name: &str) -> PathBuf {
    let directory = std::env::var("PG_BIN")
        .expect("PG_BIN is the directory of PostgreSQL's programs: run `make test`");
    Path::new(&directory).join(name)
}

async fn succeeds(user: Unprivileged, name: &str, args: &[&str], env: &[(&str, &str)]) {
    let mut program = Program::spawn(user.command(&program(name), args), env);
    assert!(program.wait().await.success(), "{name}: {}", program.stderr());
}

/// Waits until the server lets us in; `false` when it has ended instead.
async fn answers(program: &mut Program, url: &str) -> bool {
    let deadline = Instant::now() + HANG;
    while tokio_postgres::connect(url, tokio_postgres::NoTls).await.is_err() {
        if program.has_ended() {
            return false;
        }
        assert!(Instant::now() < deadline, "PostgreSQL lets nobody in:\n{}", program.stderr());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    true
}
