//! What the daemon tells its service manager over `NOTIFY_SOCKET`.
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
/// The first run may delete all of the table.
const ALL_MAY_GO: (&str, &str) = ("MAX_FRACTION", "1");
/// Looked after every 100 ms.
const WATCHDOG: (&str, &str) = ("WATCHDOG_USEC", "400000");
/// Row by row: a run that lasts.
const SLOWLY: [(&str, &str); 3] =
    [("MAX_CHUNK", "1"), ("CHUNK_TIME", "10ms"), ("DUTY_CYCLE", "0.2")];

/// Stands where systemd does: a socket, and what came in at it, line by line.
struct Manager {
    directory: TempDir,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Manager {
    fn listen() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(directory.path().join("notify")).unwrap();
        let lines: Arc<Mutex<Vec<String>>> = Arc::default();
        let heard = Arc::clone(&lines);
        tokio::spawn(async move {
            let mut buffer = vec![0; 4096];
            while let Ok(length) = socket.recv(&mut buffer).await {
                let text = String::from_utf8(buffer[..length].to_vec()).unwrap();
                heard.lock().unwrap().extend(text.lines().map(str::to_owned));
            }
        });
        Self { directory, lines }
    }

    fn path(&self) -> String {
        self.directory.path().join("notify").to_str().unwrap().to_owned()
    }

    fn heard(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    fn feedings(&self) -> usize {
        self.heard().iter().filter(|line| *line == "WATCHDOG=1").count()
    }

    async fn hears(&self, line: &str) {
        eventually(&format!("{line} is told"), async || {
            self.heard().iter().any(|heard| heard == line)
        })
        .await;
    }

    async fn is_fed(&self, times: usize) {
        let before = self.feedings();
        eventually("the watchdog is fed", async || self.feedings() >= before + times).await;
    }
}

#[tokio::test]
async fn ready_is_told_when_the_operations_port_answers_then_what_it_does_then_that_it_stops() {
    let (database, manager) = (Database::create().await, Manager::listen());
    let ops = format!("127.0.0.1:{}", free_port());
    let env = [NEVER, ("NOTIFY_SOCKET", &manager.path()), ("OPS_BIND", &ops)];
    let mut daemon = start_reaper(&database, &["daemon"], &env);
    manager.hears("READY=1").await;
    assert_eq!(reqwest::get(format!("http://{ops}/livez")).await.unwrap().status(), 200);
    let year: i32 =
        database.one("SELECT extract(year FROM now() AT TIME ZONE 'UTC')::int4 + 1").await;
    manager.hears(&format!("STATUS=waiting for the next run at {year}-01-01T00:00:00Z")).await;
    daemon.signal("TERM");
    assert_eq!(daemon.wait().await.code(), Some(0), "{}", daemon.stderr());
    manager.hears("STOPPING=1").await;
    // Nobody asked for a watchdog.
    assert_eq!(manager.feedings(), 0, "{:?}", manager.heard());
}

#[tokio::test]
async fn ready_is_not_told_by_one_that_cannot_begin() {
    let (database, manager) = (Database::create().await, Manager::listen());
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let env = [NEVER, ("NOTIFY_SOCKET", &manager.path()), ("OPS_BIND", &address)];
    assert_eq!(start_reaper(&database, &["daemon"], &env).wait().await.code(), Some(1));
    assert_eq!(manager.heard(), [""; 0]);
}

#[tokio::test]
async fn the_status_says_what_a_run_is_at() {
    let (database, manager) = (Database::create().await, Manager::listen());
    expired_sessions(&database, 2_500).await;
    database.execute("UPDATE sessions SET user_agent = 'park' WHERE user_agent = '2050'").await;
    let parking = Parking::at(&database, ParkAt::Row).await;
    let env = [EVERY_SECOND, ALL_MAY_GO, ("NOTIFY_SOCKET", &manager.path())];
    let mut daemon = start_reaper(&database, &["daemon"], &env);
    parking.wait_for_arrival().await;
    manager.hears("STATUS=deleting from sessions: 2,000 rows").await;
    daemon.signal("TERM");
    manager.hears("STOPPING=1").await;
    assert!(!daemon.has_ended(), "it finishes its chunk");
    parking.open().await;
    assert_eq!(daemon.wait().await.code(), Some(0), "{}", daemon.stderr());
}

#[tokio::test]
async fn the_watchdog_is_fed_while_there_is_nothing_to_do() {
    let (database, manager) = (Database::create().await, Manager::listen());
    let path = manager.path();
    let _daemon =
        start_reaper(&database, &["daemon"], &[NEVER, WATCHDOG, ("NOTIFY_SOCKET", &path)]);
    manager.is_fed(5).await;
}

#[tokio::test]
async fn a_watchdog_is_fed_by_the_process_that_it_is_meant_for_alone() {
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
    // The shell's process becomes the daemon's.
    let program = binary("session-reaper").display().to_string();
    let start = |pid: &str| {
        Program::start(
            "/bin/sh",
            &["-c", &format!("WATCHDOG_PID={pid} exec {program} daemon")],
            &env,
        )
    };
    let mut another = start("1");
    // Some seconds: dozens of feedings, were it meant.
    eventually("some runs have ended", async || another.log_events("run_ended").len() >= 3).await;
    another.signal("TERM");
    another.wait().await;
    assert_eq!(manager.feedings(), 0);
    let _meant = start("$$");
    manager.is_fed(3).await;
}

#[tokio::test]
async fn the_watchdog_is_fed_while_a_run_goes_on_and_not_when_it_hangs() {
    let (database, manager) = (Database::create().await, Manager::listen());
    expired_sessions(&database, 20_000).await;
    let (proxy, url) = Proxy::before(&database.url_as("session_reaper")).await;
    let path = manager.path();
    let mut env = vec![
        EVERY_SECOND,
        WATCHDOG,
        ALL_MAY_GO,
        ("DATABASE_URL", url.as_str()),
        ("NOTIFY_SOCKET", &path),
    ];
    env.extend(SLOWLY);
    env.extend([("STATEMENT_TIMEOUT", "5s"), ("LOCK_TIMEOUT", "50ms")]);
    let mut daemon = start_reaper(&database, &["daemon"], &env);
    let deleting = || {
        manager.heard().iter().rposition(|line| line.starts_with("STATUS=deleting from sessions"))
    };
    eventually("it deletes", async || deleting().is_some()).await;
    manager.is_fed(5).await;
    assert!(
        database.one::<bool>("SELECT bool_and(finished_at IS NULL) FROM reaper_runs").await,
        "one run, and at it"
    );
    assert!(daemon.stderr().contains("watchdog_too_short"), "{}", daemon.stderr());

    proxy.stall();
    let before = manager.feedings();
    daemon.log_event("server_timeout").await;
    // It hung for longer than STATEMENT_TIMEOUT, in which a clock would have fed it fifty times;
    // what it had done before may still count.
    let fed = manager.feedings() - before;
    assert!(fed <= 2, "fed {fed} times while it hung");
    proxy.restore();
    manager.is_fed(5).await;
}

#[tokio::test]
async fn a_manager_that_is_not_there_is_told_once_and_no_reason_to_stop() {
    let database = Database::create().await;
    let mut daemon =
        start_reaper(&database, &["daemon"], &[EVERY_SECOND, ("NOTIFY_SOCKET", "/nowhere/notify")]);
    daemon.log_event("notify_failed").await;
    eventually("some runs have ended", async || daemon.log_events("run_ended").len() >= 3).await;
    daemon.signal("TERM");
    assert_eq!(daemon.wait().await.code(), Some(0), "{}", daemon.stderr());
    assert_eq!(daemon.log_events("notify_failed").len(), 1);
}
