use std::path::PathBuf;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::unprivileged::Unprivileged;
use crate::{Database, HANG, Program, free_port};

/// A PgBouncer in front of the server of a database. It opens at most two server connections, and
/// stops when this value is dropped.
pub struct PgBouncer {
    url: String,
    program: Program,
    _directory: TempDir,
}

/// How long PgBouncer assigns a server connection to a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolMode {
    /// Until the client disconnects.
    Session,
    /// Until the transaction ends.
    Transaction,
}

impl PgBouncer {
    /// Starts PgBouncer. Uses the program that `PGBOUNCER` names, or otherwise the installed one.
    pub async fn before(database: &Database, mode: PoolMode) -> Self {
        let url = database.url();
        let (user, password, host, port) = parts(&url);
        let owner = Unprivileged::user();
        let directory = owner.directory();
        let (users, config) =
            (directory.path().join("users.txt"), directory.path().join("pgbouncer.ini"));
        std::fs::write(&users, format!("\"{user}\" \"{password}\"\n")).unwrap();
        owner.give(&users);

        for _ in 0..5 {
            let listen = free_port();
            let mode = if mode == PoolMode::Session { "session" } else { "transaction" };
            let text = format!(
                "[databases]\n\
                 * = host={host} port={port}\n\
                 [pgbouncer]\n\
                 listen_addr = 127.0.0.1\n\
                 listen_port = {listen}\n\
                 unix_socket_dir =\n\
                 auth_type = scram-sha-256\n\
                 auth_file = {}\n\
                 pool_mode = {mode}\n\
                 default_pool_size = 2\n\
                 server_reset_query = DISCARD ALL\n",
                users.display()
            );
            std::fs::write(&config, text).unwrap();
            owner.give(&config);
            let mut program =
                Program::spawn(owner.command(&executable(), &[config.to_str().unwrap()]), &[]);
            if listens(&mut program, listen).await {
                let url =
                    format!("postgres://{user}:{password}@127.0.0.1:{listen}/{}", database.name());
                return Self { url, program, _directory: directory };
            }
            assert!(program.stderr().contains("in use"), "{}", program.stderr());
        }
        panic!("no free port for PgBouncer");
    }

    /// Returns the URL of the database through PgBouncer, with the privileges of the owner.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns the log so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.program.stderr()
    }
}

/// Returns the user, password, host and port of a URL.
fn parts(url: &str) -> (String, String, String, u16) {
    let config: tokio_postgres::Config = url.parse().unwrap();
    let Some(tokio_postgres::config::Host::Tcp(host)) = config.get_hosts().first() else {
        panic!("DATABASE_URL has no host");
    };
    let password = String::from_utf8(config.get_password().unwrap_or_default().to_vec()).unwrap();
    let port = config.get_ports().first().copied().unwrap_or(5432);
    (config.get_user().unwrap_or("postgres").to_owned(), password, host.clone(), port)
}

/// Finds the program. Debian installs it in `/usr/sbin`, which is only in the PATH of root.
fn executable() -> PathBuf {
    if let Some(named) = std::env::var_os("PGBOUNCER") {
        return named.into();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let directories = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    let found =
        directories.map(|directory| directory.join("pgbouncer")).find(|program| program.exists());
    found.expect("pgbouncer is not installed: run `make test`, or set PGBOUNCER")
}

/// Waits until PgBouncer listens. Returns `false` if it exits instead.
async fn listens(program: &mut Program, port: u16) -> bool {
    let deadline = Instant::now() + HANG;
    while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
        if program.has_ended() {
            return false;
        }
        assert!(Instant::now() < deadline, "PgBouncer is not listening:\n{}", program.stderr());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    true
}
