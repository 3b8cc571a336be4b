//! What clients may take of a server that they have told nothing yet: bytes, time and connections.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test fails by panicking")]

use std::time::{Duration, Instant};

use testkit::{AuthApi, Database, HANG};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const REQUEST: &str = "GET /.well-known/jwks.json HTTP/1.1\r\nhost: x\r\n\r\n";

async fn connect(api: &AuthApi) -> TcpStream {
    TcpStream::connect(api.url.trim_start_matches("http://")).await.unwrap()
}

/// Everything that the server still says until it closes the connection, which it must.
async fn to_the_end(socket: &mut TcpStream) -> String {
    let mut said = Vec::new();
    // A reset is an end, too: there was something that the server had not read.
    let ended = tokio::time::timeout(HANG, socket.read_to_end(&mut said)).await;
    assert!(ended.is_ok(), "the connection stays open after {}", String::from_utf8_lossy(&said));
    String::from_utf8_lossy(&said).into_owned()
}

/// Sends a request and reads the answer, on a connection that stays.
async fn ask(socket: &mut TcpStream) {
    try_ask(socket).await.unwrap();
}

/// The same, on one that may be closed.
async fn try_ask(socket: &mut TcpStream) -> std::io::Result<()> {
    socket.write_all(REQUEST.as_bytes()).await?;
    let mut said = String::new();
    while !said.ends_with("]}") {
        let mut buffer = vec![0; 4096];
        let length = tokio::time::timeout(HANG, socket.read(&mut buffer)).await.unwrap()?;
        if length == 0 {
            return Err(std::io::Error::new(std::io::ErrorKind::UnexpectedEof, said));
        }
        said.push_str(std::str::from_utf8(&buffer[..length]).unwrap());
    }
    assert!(said.starts_with("HTTP/1.1 200"), "{said}");
    Ok(())
}

#[tokio::test]
async fn a_head_that_does_not_come_is_not_waited_for() {
    let database = Database::create().await;
    let api = AuthApi::start(&database, &[("HEAD_TIMEOUT", "1s")]).await;
    for start in ["", "G", "GET /auth/session HTTP/1.1\r\nhost: x\r\nx-slow: "] {
        let mut socket = connect(&api).await;
        socket.write_all(start.as_bytes()).await.unwrap();
        let said = to_the_end(&mut socket).await;
        assert!(said.is_empty() || said.starts_with("HTTP/1.1 408"), "{start:?}: {said}");
    }
}

#[tokio::test]
async fn nor_is_a_second_head_on_a_connection_that_was_answered() {
    let database = Database::create().await;
    let api = AuthApi::start(&database, &[("HEAD_TIMEOUT", "5s"), ("KEEP_ALIVE", "5s")]).await;
    for start in ["", "G"] {
        let mut socket = connect(&api).await;
        ask(&mut socket).await;
        ask(&mut socket).await;
        socket.write_all(start.as_bytes()).await.unwrap();
        let said = to_the_end(&mut socket).await;
        assert!(said.is_empty() || said.starts_with("HTTP/1.1 408"), "{start:?}: {said}");
    }
}

#[tokio::test]
async fn a_connection_that_is_used_is_left_alone() {
    let database = Database::create().await;
    let keep_alive = Duration::from_secs(4);
    let api = AuthApi::start(&database, &[("KEEP_ALIVE", "4s")]).await;
    let mut socket = connect(&api).await;
    let (mut began, mut answered) = (Instant::now(), Instant::now());
    // For longer than an idle one would last. One that was idle for so long, on a machine that had
    // other things to do, may have been closed, and proves nothing: from the beginning then.
    while began.elapsed() < keep_alive * 3 / 2 {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let asked = try_ask(&mut socket).await;
        let idle = std::mem::replace(&mut answered, Instant::now()).elapsed();
        if let Err(why) = asked {
            assert!(idle >= keep_alive, "closed after {idle:?}: {why}");
            socket = connect(&api).await;
            (began, answered) = (Instant::now(), Instant::now());
        }
    }
}

#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let database = Database::create().await;
    let api = AuthApi::start(&database, &[("BODY_TIMEOUT", "1s")]).await;
    let head = "POST /auth/refresh HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n";
    for rest in ["content-length: 100\r\n\r\n{", "transfer-encoding: chunked\r\n\r\n1\r\n{\r\n"] {
        let mut socket = connect(&api).await;
        socket.write_all(format!("{head}{rest}").as_bytes()).await.unwrap();
        let said = to_the_end(&mut socket).await;
        assert!(said.starts_with("HTTP/1.1 400") && said.contains("\"malformed\""), "{said}");
    }
}

#[tokio::test]
async fn a_body_without_an_end_is_not_read_on() {
    let database = Database::create().await;
    let api = AuthApi::start(&database, &[]).await;
    let head = "POST /auth/refresh HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
    let mut socket = connect(&api).await;
    socket.write_all(head.as_bytes()).await.unwrap();
    let chunk = format!("1000\r\n{}\r\n", " ".repeat(0x1000));
    let endless = async {
        while socket.write_all(chunk.as_bytes()).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    assert!(tokio::time::timeout(HANG, endless).await.is_ok(), "it reads on");
    let answered = "auth_api_http_request_duration_seconds_count{method=\"POST\",route=\"/auth/refresh\",status=\"413\"}";
    assert!((api.metric(answered).await - 1.0).abs() < f64::EPSILON);
}

#[tokio::test]
async fn a_huge_head_is_refused_and_its_connection_closed() {
    let database = Database::create().await;
    let api = AuthApi::start(&database, &[]).await;
    let of = |size: usize| {
        format!("GET /.well-known/jwks.json HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "x".repeat(size))
    };
    let many = format!("GET / HTTP/1.1\r\nhost: x\r\n{}\r\n", "x: y\r\n".repeat(200));
    let target = format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "x".repeat(17_000));
    for head in [of(17_000), of(300_000), many, target] {
        let mut socket = connect(&api).await;
        // Its end may find the connection closed.
        let _ = socket.write_all(head.as_bytes()).await;
        let said = to_the_end(&mut socket).await;
        let refused = said.starts_with("HTTP/1.1 431") || said.starts_with("HTTP/1.1 400");
        // What was not read resets the connection, and the answer may be lost with it.
        assert!(
            refused || (said.is_empty() && head.len() > 100_000),
            "{} bytes: {said}",
            head.len()
        );
    }
    let mut socket = connect(&api).await;
    socket.write_all(of(15_000).as_bytes()).await.unwrap();
    let mut status = [0; 12];
    socket.read_exact(&mut status).await.unwrap();
    assert_eq!(&status, b"HTTP/1.1 200");
}

#[tokio::test]
async fn sizes_are_what_the_configuration_says() {
    let database = Database::create().await;
    let api =
        AuthApi::start(&database, &[("MAX_HEAD_SIZE", "2KiB"), ("MAX_BODY_SIZE", "1KiB")]).await;
    let request = |agent: usize, body: usize| {
        let body = format!("{{\"refresh_token\":\"{}\"}}", "x".repeat(body));
        let request = api
            .client
            .post(format!("{}/auth/refresh", api.url))
            .header("user-agent", "x".repeat(agent));
        api.send(request.header("content-type", "application/json").body(body))
    };
    request(1500, 900).await.is_problem(401, "refresh_refused");
    request(1500, 1100).await.is_problem(413, "too_large");
    assert_eq!(request(2100, 900).await.status, 431);
}

/// File descriptors of the process: two for each connection that it has taken.
fn descriptors(api: &AuthApi) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", api.program.id())).unwrap().count()
}

#[tokio::test]
async fn idle_connections_are_bounded_end_and_leave_the_operations_port_alone() {
    let database = Database::create().await;
    let env = [("MAX_CONNECTIONS", "50"), ("HEAD_TIMEOUT", "2s"), ("DATABASE_POOL_SIZE", "2")];
    let api = AuthApi::start(&database, &env).await;
    let before = descriptors(&api);
    let mut idle = Vec::new();
    for _ in 0..200 {
        idle.push(connect(&api).await);
    }
    let alive = api.client.get(format!("{}/livez", api.ops_url)).send().await.unwrap();
    assert_eq!(alive.status(), 200);
    testkit::eventually("it has taken those that it takes", async || {
        descriptors(&api) >= before + 2 * 40
    })
    .await;
    // Its own connections to the stores may have come in between.
    let taken = descriptors(&api) - before;
    assert!(taken <= 2 * 52 + 20, "{taken} descriptors for 50 connections at the most");

    // One that has something to say waits its turn, and the others end.
    let answer = api.client.get(format!("{}/.well-known/jwks.json", api.url)).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    for mut socket in idle {
        let said = to_the_end(&mut socket).await;
        assert!(said.is_empty() || said.starts_with("HTTP/1.1 408"), "{said}");
    }
    testkit::eventually("their descriptors are closed", async || descriptors(&api) <= before + 20)
        .await;
}
