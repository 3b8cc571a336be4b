//! Messages from the daemon to its service manager over `NOTIFY_SOCKET`.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    missing_docs,
    reason = "a test fails by panicking, and is its own documentation"
)]

use std::sync::{Arc, Mutex};

use tempfile::TempDir;
use testkit::{
    Database, ParkAt, Parking, Program, Proxy, binary, eventually, expired_sessions, free_port,
    start_reaper,
};
use tokio::net::UnixDatagram;

const NEVER: (&str, &str) = ("SCHEDULE", "0 0 1 1 *");
const EVERY_SECOND: (&str, &str) = ("SCHEDULE", "* * * * * *");
/// Allows the first run to delete the whole table.
const ALLOW_ALL: (&str, &str) = ("MAX_FRACTION", "1");
/// A watchdog timeout of 400 ms, for which the daemon sends a keep-alive every 100 ms.
const WATCHDOG: (&str, &str) = ("WATCHDOG_USEC", "400000");
/// Settings that delete one row at a time, so that a run takes long.
const SLOWLY: [(&str, &str); 3] =
    [("MAX_CHUNK", "1"), ("CHUNK_TIME", "10ms"), ("DUTY_CYCLE", "0.2")];

/// A simulated systemd: a socket, and the lines that it has received.
struct Manager {
    directory: TempDir,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Manager {
    fn listen() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(directory.path().join("notify")).unwrap();
        let lines: Arc<Mutex<Vec<String>>> = Arc::default();
        let received = Arc::clone(&lines);
        tokio::spawn(async move {
            let mut buffer = vec![0; 4096];
            while let Ok(length) = socket.recv(&mut buffer).await {
                let text = String::from_utf8(buffer[..length].to_vec()).unwrap();
                received.lock().unwrap().extend(text.lines().map(str::to_owned));
            }
        });
        Self { directory, lines }
    }

    fn path(&self) -> String {
        self.directory.path().join("notify").to_str().unwrap().to_owned()
    }

    fn received(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    fn keep_alives(&self) -> usize {
        self.received().iter().filter(|line| *line == "WATCHDOG=1").count()
    }

    async fn receives(&self, line: &str) {
        eventually(&format!("{line} is received"), async || {
            self.received().iter().any(|received| received == line)
        })
        .await;
    }

    async fn receives_keep_alives(&self, times: usize) {
        let before = self.keep_alives();
        eventually("the daemon sends keep-alives", async || self.keep_alives() >= before + times)
            .await;
    }
}

#[tokio::test]
async fn ready_status_and_stopping_are_sent_in_order() {
    let (database, manager) = (Database::create().await, Manager::listen());
    let ops = format!("127.0.0.1:{}", free_port());
    let env = [NEVER, ("NOTIFY_SOCKET", &manager.path()), ("OPS_BIND", &ops)];
    let mut daemon = start_reaper(&database, &["daemon"], &env);
    manager.receives("READY=1").await;
    assert_eq!(reqwest::get(format!("http://{ops}/livez")).await.unwrap().status(), 200);
    let year: i32 =
        database.one("SELECT extract(year FROM now() AT TIME ZONE 'UTC')::int4 + 1").await;
    manager.receives(&format!("STATUS=waiting for the next run at {year}-01-01T00:00:00Z")).await;
    daemon.signal("TERM");
    assert_eq!(daemon.wait().await.code(), Some(0), "{}", daemon.stderr());
    manager.receives("STOPPING=1").await;
    // No watchdog is configured.
    assert_eq!(manager.keep_alives(), 0, "{:?}", manager.received());
}

#[tokio::test]
async fn failed_start_does_not_send_ready() {
    let (database, manager) = (Database::create().await, Manager::listen());
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let env = [NEVER, ("NOTIFY_SOCKET", &manager.path()), ("OPS_BIND", &address)];
    assert_eq!(start_reaper(&database, &["daemon"], &env).wait().await.code(), Some(1));
    assert_eq!(manager.received(), [""; 0]);
}

#[tokio::test]
async fn status_shows_the_progress_of_a_run() {
    let (database, manager) = (Database::create().await, Manager::listen());
    expired_sessions(&database, 2_500).await;
    database.execute("UPDATE sessions SET user_agent = 'park' WHERE user_agent = '2050'").await;
    let parking = Parking::at(&database, ParkAt::Row).await;
    let env = [EVERY_SECOND, ALLOW_ALL, ("NOTIFY_SOCKET", &manager.path())];
    let mut daemon = start_reaper(&database, &["daemon"], &env);
    parking.wait_for_arrival().await;
    manager.receives("STATUS=deleting from sessions: 2,000 rows").await;
    daemon.signal("TERM");
    manager.receives("STOPPING=1").await;
    assert!(!daemon.has_ended(), "the daemon finishes its chunk");
    parking.open().await;
    assert_eq!(daemon.wait().await.code(), Some(0), "{}", daemon.stderr());
}

#[tokio::test]
async fn idle_daemon_sends_watchdog_keep_alives() {
    let (database, manager) = (Database::create().await, Manager::listen());
    let path = manager.path();
    let _daemon =
        start_reaper(&database, &["daemon"], &[NEVER, WATCHDOG, ("NOTIFY_SOCKET", &path)]);
    manager.receives_keep_alives(5).await;
}

#[tokio::test]
async fn only_the_process_in_watchdog_pid_sends_keep_alives() {
    let (database, manager) = (Database::create().await, Manager::listen());
    let (url, path) = (database.url_as("session_reaper"), manager.path());
    let env = [
        ("DATABASE_URL", url.as_str()),
        ("LOG_FORMAT", "json"),
        ("OPS_BIND", "127.0.0.1:0"),
        ("NOTIFY_SOCKET", &path),
        EVERY_SECOND,
        WATCHDOG,
    ];
    // The shell's process becomes the daemon.
    let program = binary("session-reaper").display().to_string();
    let start = |pid: &str| {
        Program::start(
            "/bin/sh",
            &["-c", &format!("WATCHDOG_PID={pid} exec {program} daemon")],
            &env,
        )
    };
    let mut another = start("1");
    // Three runs take seconds, enough for dozens of keep-alives if the daemon sent any.
    eventually("three runs have ended", async || another.log_events("run_ended").len() >= 3).await;
    another.signal("TERM");
    another.wait().await;
    assert_eq!(manager.keep_alives(), 0);
    let _intended = start("$$");
    manager.receives_keep_alives(3).await;
}

#[tokio::test]
async fn keep_alives_are_sent_during_a_run_unless_it_hangs() {
    let (database, manager) = (Database::create().await, Manager::listen());
    expired_sessions(&database, 20_000).await;
    let (proxy, url) = Proxy::before(&database.url_as("session_reaper")).await;
    let path = manager.path();
    let mut env = vec![
        EVERY_SECOND,
        WATCHDOG,
        ALLOW_ALL,
        ("DATABASE_URL", url.as_str()),
        ("NOTIFY_SOCKET", &path),
    ];
    env.extend(SLOWLY);
    env.extend([("STATEMENT_TIMEOUT", "5s"), ("LOCK_TIMEOUT", "50ms")]);
    let mut daemon = start_reaper(&database, &["daemon"], &env);
    let deleting = || {
        manager
            .received()
            .iter()
            .rposition(|line| line.starts_with("STATUS=deleting from sessions"))
    };
    eventually("the daemon deletes rows", async || deleting().is_some()).await;
    manager.receives_keep_alives(5).await;
    assert!(
        database.one::<bool>("SELECT bool_and(finished_at IS NULL) FROM reaper_runs").await,
        "the only run is still active"
    );
    assert!(daemon.stderr().contains("watchdog_too_short"), "{}", daemon.stderr());

    proxy.stall();
    let before = manager.keep_alives();
    daemon.log_event("server_timeout").await;
    // The run hung for longer than STATEMENT_TIMEOUT. In that time, a timer would have sent fifty
    // keep-alives. Progress that was made earlier may still cause a few keep-alives.
    let sent = manager.keep_alives() - before;
    assert!(sent <= 2, "{sent} keep-alives were sent while the run hung");
    proxy.restore();
    manager.receives_keep_alives(5).await;
}

#[tokio::test]
async fn missing_notify_socket_is_logged_once_and_tolerated() {
    let database = Database::create().await;
    let mut daemon =
        start_reaper(&database, &["daemon"], &[EVERY_SECOND, ("NOTIFY_SOCKET", "/nowhere/notify")]);
    daemon.log_event("notify_failed").await;
    eventually("three runs have ended", async || daemon.log_events("run_ended").len() >= 3).await;
    daemon.signal("TERM");
    assert_eq!(daemon.wait().await.code(), Some(0), "{}", daemon.stderr());
    assert_eq!(daemon.log_events("notify_failed").len(), 1);
}
