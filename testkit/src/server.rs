use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio_postgres::Client;
use uuid::Uuid;

use crate::database::{connect, with_database};
use crate::unprivileged::Unprivileged;
use crate::{Database, HANG, Program, eventually, free_port};

/// An empty PostgreSQL server that belongs to one test and stops when this value is dropped. Its
/// data does not survive a crash of the machine.
///
/// Declare it before the databases on it, so that it is dropped after them.
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
    /// Ends all sessions and writes everything to disk, like `pg_ctl stop -m fast`.
    Fast,
    /// Stops immediately, like `pg_ctl stop -m immediate`. The next start recovers from the WAL.
    /// Asynchronous commits may be lost.
    Immediate,
}

/// A streaming replica, which uses a replication slot.
pub struct Replica {
    server: Server,
    primary: String,
}

/// The role that creates, owns and replicates the databases.
const OWNER: &str = "postgres";

/// The data need not survive a crash of the machine, so commits wait only for the cache of the
/// operating system. Replicas still receive the commits. Shared memory is a file next to the data.
/// The file is deleted together with the data, even if the server is killed.
const FAST: [&str; 3] = ["fsync=off", "full_page_writes=off", "dynamic_shared_memory_type=mmap"];

impl Server {
    /// Starts a server. `settings`, such as `("autovacuum", "off")`, are added to the usual
    /// settings. The programs are taken from `PG_BIN`.
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

    /// Starts a server on the data in `directory`. Tries another port if the first one is in use.
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
            let mut program = spawn_postgres(user, &directory, &args);
            if answers(&mut program, &directory, &server_url(&password, port)).await {
                return Self { program, port, password, user, settings, directory };
            }
            let log = log_in(&directory);
            assert!(log.contains("in use"), "{log}");
        }
        panic!("no free port for PostgreSQL");
    }

    /// Stops the server and starts it again with the same data, port and settings.
    pub async fn restart(&mut self, shutdown: Shutdown) {
        self.program.signal(match shutdown {
            Shutdown::Fast => "INT",
            Shutdown::Immediate => "QUIT",
        });
        self.program.wait().await;
        let (data, port_setting) = (data_in(&self.directory), format!("port={}", self.port));
        let mut args = vec!["-D", &data, "-c", &port_setting];
        args.extend(self.settings.iter().flat_map(|setting| ["-c", setting]));
        self.program = spawn_postgres(self.user, &self.directory, &args);
        let url = server_url(&self.password, self.port);
        let answered = answers(&mut self.program, &self.directory, &url).await;
        assert!(answered, "{}", self.log());
    }

    /// Returns the URL of the database `postgres` on this server, for a connection as a superuser.
    #[must_use]
    pub fn url(&self) -> String {
        server_url(&self.password, self.port)
    }

    /// Opens a connection to the database `postgres` with the privileges of a superuser.
    pub async fn client(&self) -> Client {
        connect(&self.url()).await
    }

    /// Creates a migrated database with the roles, like [`Database::create`].
    pub async fn database(&self) -> Database {
        Database::create_on(self.url()).await
    }

    /// Returns the log so far.
    #[must_use]
    pub fn log(&self) -> String {
        log_in(&self.directory)
    }

    /// Starts a streaming replica with the current contents of this server.
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
        // Use an immediate shutdown. If the server were killed, it would leave its shared memory
        // behind.
        self.program.signal_if_alive("QUIT");
        let deadline = Instant::now() + HANG;
        while !self.program.has_ended() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Replica {
    /// Returns the URL of this database on the replica, with the privileges of a superuser.
    #[must_use]
    pub fn url_of(&self, database: &Database) -> String {
        with_database(&self.server.url(), database.name())
    }

    /// Opens a connection to the replica.
    pub async fn client(&self) -> Client {
        self.server.client().await
    }

    /// Waits until the replica has replayed everything that its primary has written so far.
    pub async fn catch_up(&self) {
        let primary = connect(&self.primary).await;
        // A synchronous commit also flushes all earlier asynchronous commits (`synchronous_commit =
        // off`).
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

    /// Pauses replay. The replica still receives WAL, but it falls behind.
    pub async fn pause(&self) {
        let replica = self.client().await;
        replica.execute("SELECT pg_wal_replay_pause()", &[]).await.unwrap();
        eventually("the replica has paused", async || {
            let paused = "SELECT pg_get_wal_replay_pause_state() = 'paused'";
            replica.query_one(paused, &[]).await.unwrap().get(0)
        })
        .await;
    }

    /// Resumes replay.
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

fn log_file(directory: &TempDir) -> PathBuf {
    directory.path().join("log")
}

fn log_in(directory: &TempDir) -> String {
    String::from_utf8_lossy(&std::fs::read(log_file(directory)).unwrap()).into_owned()
}

/// Starts `postgres`, which appends its log to the log file in `directory`.
///
/// The log is a file and not a pipe, because several server processes write to it. In a pipe,
/// messages of more than 4 KiB, such as the plans that `auto_explain` logs, would be interleaved.
fn spawn_postgres(user: Unprivileged, directory: &TempDir, args: &[&str]) -> Program {
    let log = OpenOptions::new().append(true).create(true).open(log_file(directory)).unwrap();
    Program::spawn_with_stderr(user.command(&program("postgres"), args), &[], log.into())
}

fn program(name: &str) -> PathBuf {
    let directory = std::env::var("PG_BIN")
        .expect("PG_BIN, the directory of the PostgreSQL programs, is not set: run `make test`");
    Path::new(&directory).join(name)
}

async fn succeeds(user: Unprivileged, name: &str, args: &[&str], env: &[(&str, &str)]) {
    let mut program = Program::spawn(user.command(&program(name), args), env);
    assert!(program.wait().await.success(), "{name}: {}", program.stderr());
}

/// Waits until the server accepts connections. Returns `false` if it exits instead.
async fn answers(program: &mut Program, directory: &TempDir, url: &str) -> bool {
    let deadline = Instant::now() + HANG;
    while tokio_postgres::connect(url, tokio_postgres::NoTls).await.is_err() {
        if program.has_ended() {
            return false;
        }
        assert!(
            Instant::now() < deadline,
            "PostgreSQL does not accept connections:\n{}",
            log_in(directory)
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    true
}
