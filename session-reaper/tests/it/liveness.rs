//! `/livez` of a daemon whose loop makes no progress.

use std::fs::{self, OpenOptions};
use std::io::{Read as _, Write as _};
use std::process::Command;
use std::thread;

use testkit::{Database, Program, binary, eventually, free_port, libfaketime};

/// Starts a daemon that logs to the named pipe `$2`, which blocks the daemon when it is full.
const START: &str = r#"LD_PRELOAD="$1" exec "$0" daemon 2>"$2""#;

#[tokio::test]
async fn livez_fails_while_the_loop_is_stalled() {
    let (database, library) = (Database::create().await, libfaketime());
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let (clock, log) = (path("clock"), path("log"));
    let set = |offset: &str| fs::write(&clock, offset).unwrap();
    set("+0");
    assert!(Command::new("mkfifo").arg(&log).status().unwrap().success());
    let mut pipe = OpenOptions::new().read(true).write(true).open(&log).unwrap();
    let (url, ops) = (database.url_as("session_reaper"), format!("127.0.0.1:{}", free_port()));
    let program = binary("session-reaper");
    let args = ["-c", START, program.to_str().unwrap(), &library, &log];
    let env = [
        ("DATABASE_URL", url.as_str()),
        ("OPS_BIND", ops.as_str()),
        // The daemon does not fill the pipe by itself before the test ends.
        ("SCHEDULE", "*/2 * * * * *"),
        // The longest time without progress is two minutes.
        ("STATEMENT_TIMEOUT", "1s"),
        ("FAKETIME_TIMESTAMP_FILE", clock.as_str()),
        ("FAKETIME_NO_CACHE", "1"),
    ];
    let _daemon = Program::start("/bin/sh", &args, &env);
    // The server does not expect the clock to change while it keeps a connection open.
    let client = reqwest::Client::builder().pool_max_idle_per_host(0).build().unwrap();
    let status = async || {
        let answer = client.get(format!("http://{ops}/livez")).send().await;
        answer.ok().map(|answer| answer.status().as_u16())
    };
    eventually("the daemon is alive", async || status().await == Some(200)).await;

    // The monotonic clock is also set. A daemon that makes progress is alive again at once.
    set("+10m");
    eventually("the daemon is alive", async || status().await == Some(200)).await;

    // The loop stops at the next line of the log. The operations port continues to respond.
    let mut filler = pipe.try_clone().unwrap();
    thread::spawn(move || while filler.write_all(b"\n").is_ok() {});
    let (mut minutes, mut failed) = (10, 0);
    eventually("the daemon has stalled", async || {
        // A loop that has not stopped yet makes progress within two seconds.
        match status().await {
            Some(503) => failed += 1,
            Some(200) => {
                (minutes, failed) = (minutes + 10, 0);
                set(&format!("+{minutes}m"));
            }
            _ => {}
        }
        failed == 250
    })
    .await;

    thread::spawn(move || while pipe.read(&mut [0; 4_096]).is_ok_and(|read| read > 0) {});
    eventually("the daemon is alive again", async || status().await == Some(200)).await;
}
