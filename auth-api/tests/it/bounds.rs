//! Limits on the bytes, time and connections of unauthenticated clients.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test fails by panicking")]

use std::time::{Duration, Instant};

use testkit::{AuthApi, Database, HANG};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const REQUEST: &str = "GET /.well-known/jwks.json HTTP/1.1\r\nhost: x\r\n\r\n";

async fn connect(api: &AuthApi) -> TcpStream {
    TcpStream::connect(api.url.trim_start_matches("http://")).await.unwrap()
}

/// Reads until the server closes the connection. Fails if it stays open.
async fn read_to_close(socket: &mut TcpStream) -> String {
    let mut response = Vec::new();
    // A reset also counts as closing: it occurs if the server had not read all bytes.
    let ended = tokio::time::timeout(HANG, socket.read_to_end(&mut response)).await;
    assert!(
        ended.is_ok(),
        "the connection stays open after {}",
        String::from_utf8_lossy(&response)
    );
    String::from_utf8_lossy(&response).into_owned()
}

/// Sends a request and reads the response, on a connection that stays open.
async fn ask(socket: &mut TcpStream) {
    try_ask(socket).await.unwrap();
}

/// Like [`ask`], on a connection that the server may have closed.
async fn try_ask(socket: &mut TcpStream) -> std::io::Result<()> {
    socket.write_all(REQUEST.as_bytes()).await?;
    let mut response = String::new();
    while !response.ends_with("]}") {
        let mut buffer = vec![0; 4096];
        let length = tokio::time::timeout(HANG, socket.read(&mut buffer)).await.unwrap()?;
        if length == 0 {
            return Err(std::io::Error::new(std::io::ErrorKind::UnexpectedEof, response));
        }
        response.push_str(std::str::from_utf8(&buffer[..length]).unwrap());
    }
    assert!(response.starts_with("HTTP/1.1 200"), "{response}");
    Ok(())
}

#[tokio::test]
async fn incomplete_request_head_times_out() {
    let database = Database::create().await;
    let api = AuthApi::start(&database, &[("HEAD_TIMEOUT", "1s")]).await;
    for start in ["", "G", "GET /auth/session HTTP/1.1\r\nhost: x\r\nx-slow: "] {
        let mut socket = connect(&api).await;
        socket.write_all(start.as_bytes()).await.unwrap();
        let response = read_to_close(&mut socket).await;
        assert!(
            response.is_empty() || response.starts_with("HTTP/1.1 408"),
            "{start:?}: {response}"
        );
    }
}

#[tokio::test]
async fn incomplete_head_on_a_reused_connection_times_out() {
    let database = Database::create().await;
    let api = AuthApi::start(&database, &[("HEAD_TIMEOUT", "5s"), ("KEEP_ALIVE", "5s")]).await;
    for start in ["", "G"] {
        let mut socket = connect(&api).await;
        ask(&mut socket).await;
        ask(&mut socket).await;
        socket.write_all(start.as_bytes()).await.unwrap();
        let response = read_to_close(&mut socket).await;
        assert!(
            response.is_empty() || response.starts_with("HTTP/1.1 408"),
            "{start:?}: {response}"
        );
    }
}

#[tokio::test]
async fn active_connection_stays_open() {
    let database = Database::create().await;
    let keep_alive = Duration::from_secs(4);
    let api = AuthApi::start(&database, &[("KEEP_ALIVE", "4s")]).await;
    let mut socket = connect(&api).await;
    let (mut began, mut answered) = (Instant::now(), Instant::now());
    // Uses the connection for longer than an idle connection stays open. On a busy machine, the
    // connection may be idle for the whole keep-alive time, and the server then closes it. In this
    // case, the result proves nothing, so the test starts again.
    while began.elapsed() < keep_alive * 3 / 2 {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let result = try_ask(&mut socket).await;
        let idle = std::mem::replace(&mut answered, Instant::now()).elapsed();
        if let Err(error) = result {
            assert!(idle >= keep_alive, "closed after {idle:?}: {error}");
            socket = connect(&api).await;
            (began, answered) = (Instant::now(), Instant::now());
        }
    }
}

#[tokio::test]
async fn incomplete_body_times_out() {
    let database = Database::create().await;
    let api = AuthApi::start(&database, &[("BODY_TIMEOUT", "1s")]).await;
    let head = "POST /auth/refresh HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n";
    for rest in ["content-length: 100\r\n\r\n{", "transfer-encoding: chunked\r\n\r\n1\r\n{\r\n"] {
        let mut socket = connect(&api).await;
        socket.write_all(format!("{head}{rest}").as_bytes()).await.unwrap();
        let response = read_to_close(&mut socket).await;
        assert!(
            response.starts_with("HTTP/1.1 400") && response.contains("\"malformed\""),
            "{response}"
        );
    }
}

#[tokio::test]
async fn endless_body_is_cut_off() {
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
    assert!(tokio::time::timeout(HANG, endless).await.is_ok(), "the server keeps reading");
    let answered = "auth_api_http_request_duration_seconds_count{method=\"POST\",route=\"/auth/refresh\",status=\"413\"}";
    assert!((api.metric(answered).await - 1.0).abs() < f64::EPSILON);
}

#[tokio::test]
async fn oversized_head_is_rejected_and_connection_closed() {
    let database = Database::create().await;
    let api = AuthApi::start(&database, &[]).await;
    let of = |size: usize| {
        format!("GET /.well-known/jwks.json HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "x".repeat(size))
    };
    let many = format!("GET / HTTP/1.1\r\nhost: x\r\n{}\r\n", "x: y\r\n".repeat(200));
    let target = format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "x".repeat(17_000));
    for head in [of(17_000), of(300_000), many, target] {
        let mut socket = connect(&api).await;
        // The server may close the connection before it receives the last bytes.
        let _ = socket.write_all(head.as_bytes()).await;
        let response = read_to_close(&mut socket).await;
        let refused = response.starts_with("HTTP/1.1 431") || response.starts_with("HTTP/1.1 400");
        // Unread bytes reset the connection, which may discard the response.
        assert!(
            refused || (response.is_empty() && head.len() > 100_000),
            "{} bytes: {response}",
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
async fn configured_size_limits_apply() {
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

/// Returns the number of file descriptors of the process: two for each accepted connection.
fn descriptors(api: &AuthApi) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", api.program.id())).unwrap().count()
}

#[tokio::test]
async fn idle_connections_are_bounded_and_time_out() {
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
    testkit::eventually("the server has accepted connections up to its limit", async || {
        descriptors(&api) >= before + 2 * 40
    })
    .await;
    // The count may include new connections of the server to its stores.
    let opened = descriptors(&api) - before;
    assert!(opened <= 2 * 52 + 20, "{opened} descriptors for at most 50 connections");

    // A connection with a request waits for a free slot, and the idle connections time out.
    let answer = api.client.get(format!("{}/.well-known/jwks.json", api.url)).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    for mut socket in idle {
        let response = read_to_close(&mut socket).await;
        assert!(response.is_empty() || response.starts_with("HTTP/1.1 408"), "{response}");
    }
    testkit::eventually("the descriptors of the idle connections are closed", async || {
        descriptors(&api) <= before + 20
    })
    .await;
}
