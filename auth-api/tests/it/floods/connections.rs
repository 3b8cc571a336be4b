use std::net::SocketAddr;

use reqwest::Client;
use testkit::{Answer, AuthApi, Database, HANG, Program, Proxy, Wallet, binary, eventually};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use super::is_number;

const REQUEST: &str = "GET /.well-known/jwks.json HTTP/1.1\r\nhost: x\r\n\r\n";

/// Connects from this loopback address. For `MAX_CONNECTIONS_PER_NETWORK`, each address is a
/// network.
async fn connect(api: &AuthApi, from: &str) -> TcpStream {
    let to: SocketAddr = api.url.trim_start_matches("http://").parse().unwrap();
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(format!("{from}:0").parse().unwrap()).unwrap();
    socket.connect(to).await.unwrap()
}

/// Sends a request and reads the response, on a connection that the server may have closed.
async fn try_ask(socket: &mut TcpStream) -> std::io::Result<()> {
    socket.write_all(REQUEST.as_bytes()).await?;
    let mut answer = String::new();
    while !answer.ends_with("]}") {
        let mut buffer = vec![0; 4096];
        let length = tokio::time::timeout(HANG, socket.read(&mut buffer)).await.unwrap()?;
        if length == 0 {
            return Err(std::io::Error::new(std::io::ErrorKind::UnexpectedEof, answer));
        }
        answer.push_str(std::str::from_utf8(&buffer[..length]).unwrap());
    }
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    Ok(())
}

async fn ask(socket: &mut TcpStream) {
    try_ask(socket).await.unwrap();
}

/// Opens a connection and completes one request on it.
async fn answered(api: &AuthApi, from: &str) -> TcpStream {
    let mut socket = connect(api, from).await;
    ask(&mut socket).await;
    socket
}

/// Waits until the server has closed the connection.
async fn is_closed(socket: &mut TcpStream) {
    let end = tokio::time::timeout(HANG, socket.read(&mut [0])).await.unwrap();
    assert!(
        end.is_err() || end.is_ok_and(|bytes| bytes == 0),
        "the server sent an unexpected response"
    );
}

/// Returns a client on its own network, with a new connection for each request.
fn client(from: &str) -> Client {
    let client =
        Client::builder().local_address(Some(from.parse().unwrap())).pool_max_idle_per_host(0);
    client.timeout(HANG).build().unwrap()
}

async fn open(api: &AuthApi) -> f64 {
    api.metric("auth_api_connections{state=\"idle\"}").await
        + api.metric("auth_api_connections{state=\"busy\"}").await
}

async fn closed(api: &AuthApi, reason: &str) -> f64 {
    api.metric(&format!("auth_api_connections_closed_total{{reason=\"{reason}\"}}")).await
}

/// Timeouts that keep idle connections open for the whole test.
const LONG_TIMEOUTS: [(&str, &str); 2] = [("KEEP_ALIVE", "1h"), ("HEAD_TIMEOUT", "1h")];

#[tokio::test]
async fn one_network_cannot_hold_all_connections() {
    let database = Database::create().await;
    let env = [
        LONG_TIMEOUTS[0],
        LONG_TIMEOUTS[1],
        ("MAX_CONNECTIONS", "40"),
        ("MAX_CONNECTIONS_PER_NETWORK", "4"),
    ];
    let mut api = AuthApi::start(&database, &env).await;
    let mut attacker = Vec::new();
    for _ in 0..50 {
        let mut socket = connect(&api, "127.0.0.2").await;
        // The test does not wait for the response.
        socket.write_all(REQUEST.as_bytes()).await.unwrap();
        attacker.push(socket);
    }
    for honest in ["127.0.0.3", "127.0.0.4", "127.0.0.5"] {
        let answer =
            client(honest).get(format!("{}/.well-known/jwks.json", api.url)).send().await.unwrap();
        assert_eq!(answer.status(), 200);
    }
    // The attacker reopens connections that the server has closed.
    for socket in &mut attacker {
        if try_ask(socket).await.is_err() {
            *socket = connect(&api, "127.0.0.2").await;
            let _ = socket.write_all(REQUEST.as_bytes()).await;
        }
        let answer = client("127.0.0.3")
            .get(format!("{}/.well-known/jwks.json", api.url))
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 200);
    }
    eventually("the attacker holds exactly its share", async || {
        (open(&api).await - 4.0).abs() < f64::EPSILON
    })
    .await;
    is_number(closed(&api, "port_full").await, 0.0);
    let of_network = closed(&api, "network_full").await + closed(&api, "refused").await;
    assert!(of_network >= 46.0, "{of_network}");
    is_number(api.metric("auth_api_connections_max").await, 40.0);
    is_number(api.metric("auth_api_connections_per_network_max").await, 4.0);

    api.program.signal("TERM");
    assert_eq!(api.program.wait().await.code(), Some(0));
    let lines = api.program.log_events("network_connections_full");
    let sums = api.program.log_events("repeated");
    assert!(lines.iter().all(|line| line["network"] == "127.0.0.2"), "{lines:?}");
    assert!(
        sums.iter().all(|sum| sum["of"] == "network_connections_full" && sum["who"] == "127.0.0.2"),
        "{sums:?}"
    );
    let summed: u64 = sums.iter().map(|sum| sum["times"].as_u64().unwrap()).sum();
    #[allow(clippy::cast_precision_loss, reason = "the numbers are small")]
    let logged = (summed + lines.len() as u64) as f64;
    is_number(logged, of_network);
    assert!(lines.len() < 10, "{lines:?}");
}

#[tokio::test]
async fn full_port_closes_the_longest_idle_connection() {
    let database = Database::create().await;
    let api =
        AuthApi::start(&database, &[LONG_TIMEOUTS[0], LONG_TIMEOUTS[1], ("MAX_CONNECTIONS", "20")])
            .await;
    let mut sockets = Vec::new();
    for _ in 0..19 {
        sockets.push(answered(&api, "127.0.0.1").await);
    }
    // The first connection is used again, so the second connection has been idle for the longest
    // time.
    ask(&mut sockets[0]).await;
    is_number(closed(&api, "port_full").await, 0.0);
    let mut next = answered(&api, "127.0.0.1").await;
    is_closed(&mut sockets.remove(1)).await;
    for socket in sockets.iter_mut().chain([&mut next]) {
        ask(socket).await;
    }
    is_number(closed(&api, "port_full").await, 1.0);
    eventually("the closed connection is no longer counted", async || {
        (open(&api).await - 19.0).abs() < f64::EPSILON
    })
    .await;
    // The server accepts any number of new connections, even if they stay silent for a long time.
    for _ in 0..60 {
        sockets.push(connect(&api, "127.0.0.1").await);
    }
    ask(&mut connect(&api, "127.0.0.1").await).await;
}

#[tokio::test]
async fn active_request_is_never_closed_for_another() {
    let database = Database::create().await;
    let (proxy, url) = Proxy::before(&database.url_as("auth_api")).await;
    let env =
        [LONG_TIMEOUTS[0], LONG_TIMEOUTS[1], ("DATABASE_URL", &url), ("MAX_CONNECTIONS", "8")];
    let api = AuthApi::start(&database, &env).await;
    let tokens = api.login(&Wallet::generate()).await;
    proxy.stall();
    let session = async || {
        let request = client("127.0.0.1")
            .get(format!("{}/auth/session", api.url))
            .bearer_auth(&tokens.access);
        request.send().await.map(|answer| answer.status().as_u16())
    };
    let requests = futures_util::future::join_all((0..6).map(|_| session()));
    let flood = async {
        let busy = "auth_api_connections{state=\"busy\"}";
        eventually("all requests are active", async || {
            (api.metric(busy).await - 6.0).abs() < f64::EPSILON
        })
        .await;
        let mut sockets = Vec::new();
        for _ in 0..30 {
            sockets.push(connect(&api, "127.0.0.1").await);
        }
        ask(&mut connect(&api, "127.0.0.1").await).await;
        is_number(api.metric(busy).await, 6.0);
        proxy.restore();
        sockets
    };
    let (statuses, _sockets) = tokio::join!(requests, flood);
    assert_eq!(statuses.into_iter().map(Result::unwrap).collect::<Vec<_>>(), [200; 6]);
    // Connections that had to wait are served, too.
    ask(&mut connect(&api, "127.0.0.1").await).await;
}

/// Idle connections are closed all the time, even at the moment when a client sends its next
/// request.
#[tokio::test]
async fn client_with_a_closed_connection_keeps_its_session() {
    let database = Database::create().await;
    let api =
        AuthApi::start(&database, &[LONG_TIMEOUTS[0], LONG_TIMEOUTS[1], ("MAX_CONNECTIONS", "12")])
            .await;
    let wallets = [(); 4].map(|()| Wallet::generate());
    let tokens =
        futures_util::future::join_all(wallets.iter().map(|wallet| api.login(wallet))).await;
    let api = &api;
    let refreshing = tokens.into_iter().map(|tokens| async move {
        let client = Client::builder().timeout(HANG).build().unwrap();
        let mut token = tokens.refresh;
        for _ in 0..40 {
            let body = serde_json::json!({ "refresh_token": token });
            // Without a response, or after a 503, the client repeats the request.
            token = loop {
                let request = client.post(format!("{}/auth/refresh", api.url)).json(&body);
                let Ok(answer) = request.send().await else { continue };
                let answer = Answer::of(answer).await;
                if answer.status == 503 {
                    answer.is_problem(503, "unavailable");
                    assert!(answer.headers.contains_key("retry-after"), "{answer:?}");
                    continue;
                }
                break answer.tokens().refresh;
            };
        }
    });
    let over = std::cell::Cell::new(false);
    let flood = async {
        let mut sockets = std::collections::VecDeque::new();
        while !over.get() {
            sockets.push_back(connect(api, "127.0.0.1").await);
            if sockets.len() > 20 {
                sockets.pop_front();
            }
            tokio::task::yield_now().await;
        }
    };
    let honest = async {
        futures_util::future::join_all(refreshing).await;
        over.set(true);
    };
    tokio::join!(honest, flood);
    assert!(closed(api, "port_full").await > 0.0);
    assert_eq!(
        database.one::<i64>("SELECT count(*) FROM sessions WHERE revoked_at IS NULL").await,
        4
    );
}

#[tokio::test]
async fn loopback_has_no_connection_limit_by_default() {
    let database = Database::create().await;
    let api =
        AuthApi::start(&database, &[LONG_TIMEOUTS[0], LONG_TIMEOUTS[1], ("MAX_CONNECTIONS", "50")])
            .await;
    is_number(api.metric("auth_api_connections_per_network_max").await, 5.0);
    let mut sockets = Vec::new();
    for _ in 0..15 {
        sockets.push(answered(&api, "127.0.0.2").await);
    }
    for socket in &mut sockets {
        ask(socket).await;
    }
    is_number(closed(&api, "network_full").await + closed(&api, "refused").await, 0.0);
}

#[tokio::test]
async fn half_of_all_connections_log_one_warning() {
    let database = Database::create().await;
    let env = [
        LONG_TIMEOUTS[0],
        LONG_TIMEOUTS[1],
        ("MAX_CONNECTIONS", "20"),
        ("MAX_CONNECTIONS_PER_NETWORK", "12"),
    ];
    let api = AuthApi::start(&database, &env).await;
    let half = || api.program.log_events("connections_half");
    let fill = async |of_each: [(&str, usize); 2]| {
        let mut sockets = Vec::new();
        for (from, number) in of_each {
            for _ in 0..number {
                sockets.push(answered(&api, from).await);
            }
        }
        sockets
    };
    let sockets = fill([("127.0.0.2", 9), ("127.0.0.3", 6)]).await;
    eventually("a warning is logged", async || half().len() == 1).await;
    let expected = serde_json::json!({
        "event": "connections_half", "most": 20,
        "network": "127.0.0.2", "of_network": 9,
    });
    assert_eq!(half(), [expected]);
    drop(sockets);
    eventually("the connections are closed", async || open(&api).await < 1.0).await;
    let _sockets = fill([("127.0.0.2", 4), ("127.0.0.3", 7)]).await;
    eventually("another warning is logged", async || half().len() == 2).await;
    assert_eq!(half()[1]["of_network"], 6);
}

#[tokio::test]
async fn invalid_connection_share_is_rejected() {
    for share in ["0", "many", "1001", "-1"] {
        let env = [("MAX_CONNECTIONS_PER_NETWORK", share)];
        let (code, program) = Program::run(binary("auth-api"), &["config"], &env).await;
        assert_eq!(code, Some(78));
        assert!(
            program.stderr().contains("\n  MAX_CONNECTIONS_PER_NETWORK: "),
            "{share}: {}",
            program.stderr()
        );
    }
}
