use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};

/// A TCP proxy in front of PostgreSQL or Redis.
///
/// It counts the bytes that clients send and records the text of the statements that they prepare
/// or send (unencrypted `Parse` and `Query` messages of PostgreSQL). It can cut connections,
/// connect them to another server, and stop forwarding without closing them.
///
/// It runs on its own thread. Dropping a [`Database`](crate::Database) blocks the thread of the
/// test until the server has ended all connections to the database. If the proxy ran on the same
/// thread, a connection that is still authenticating could not finish, and the drop would never
/// complete.
pub struct Proxy {
    address: String,
    shared: Arc<Shared>,
    /// Stops the proxy when it is dropped.
    _alive: oneshot::Sender<()>,
}

struct Shared {
    upstream: watch::Sender<String>,
    mode: watch::Sender<Mode>,
    sent: AtomicU64,
    connections: AtomicU64,
    statements: Mutex<BTreeSet<Statement>>,
}

/// A statement that a client prepared or sent.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Statement {
    /// SQL text.
    pub text: String,
    /// The parameter type OIDs that the client specified.
    pub types: Vec<u32>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Forward,
    Stall,
    /// Holds back the responses of the server, starting with the response to the next `UPDATE` that
    /// changes rows.
    HoldUpdates,
    HoldAnswers,
    Refuse,
}

impl Proxy {
    /// Listens on a free port and forwards to `upstream` (`host:port`).
    pub async fn to(upstream: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let shared = Arc::new(Shared {
            upstream: watch::Sender::new(upstream.to_owned()),
            mode: watch::Sender::new(Mode::Forward),
            sent: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            statements: Mutex::default(),
        });
        let (alive, dropped) = oneshot::channel();
        let (listener, served) = (listener.into_std().unwrap(), Arc::clone(&shared));
        std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                tokio::select! {
                    () = accept(TcpListener::from_std(listener).unwrap(), served) => {}
                    _ = dropped => {}
                }
            });
        });
        Self { address, shared, _alive: alive }
    }

    /// Starts a proxy in front of the server in a URL. Returns the proxy and the server's URL
    /// through the proxy. TLS is disabled for PostgreSQL, so that the proxy can read the
    /// statements.
    pub async fn before(url: &str) -> (Self, String) {
        let (head, rest) = url.split_once("://").unwrap();
        let (user, rest) = rest.rsplit_once('@').map_or(("", rest), |(user, rest)| (user, rest));
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let proxy = Self::to(host).await;
        let at = if user.is_empty() { "" } else { "@" };
        let mut through = format!("{head}://{user}{at}{}/{path}", proxy.address);
        if head.starts_with("postgres") {
            through.push_str(if path.contains('?') {
                "&sslmode=disable"
            } else {
                "?sslmode=disable"
            });
        }
        (proxy, through)
    }

    /// Returns the address that the proxy listens on.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Returns the number of bytes that clients have sent so far.
    #[must_use]
    pub fn bytes_sent(&self) -> u64 {
        self.shared.sent.load(Ordering::SeqCst)
    }

    /// Returns the number of connections made so far.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// Returns the distinct statements that clients have prepared or sent so far.
    #[must_use]
    pub fn statements(&self) -> BTreeSet<Statement> {
        self.shared.statements.lock().unwrap().clone()
    }

    /// Closes all connections and refuses new ones.
    pub fn cut(&self) {
        self.shared.mode.send_replace(Mode::Refuse);
    }

    /// Closes all connections and connects new ones to another server, as in a failover.
    pub fn fail_over_to(&self, upstream: &str) {
        self.shared.upstream.send_replace(upstream.to_owned());
    }

    /// Stops forwarding without closing connections.
    pub fn stall(&self) {
        self.shared.mode.send_replace(Mode::Stall);
    }

    /// Forwards what clients send, and holds back the responses of the server, starting with the
    /// response to the next `UPDATE` that changes rows. The server executes that statement, but the
    /// client receives no response.
    pub fn hold_answers_from_an_update(&self) {
        self.shared.mode.send_replace(Mode::HoldUpdates);
    }

    /// Resumes forwarding.
    pub fn restore(&self) {
        self.shared.mode.send_replace(Mode::Forward);
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((client, _)) = listener.accept().await {
        shared.connections.fetch_add(1, Ordering::SeqCst);
        if *shared.mode.borrow() == Mode::Refuse {
            continue;
        }
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let mut upstream = shared.upstream.subscribe();
            let current = upstream.borrow_and_update().clone();
            let Ok(server) = TcpStream::connect(current).await else { return };
            // Without TCP_NODELAY, a small piece of data, such as a pipelined statement, would wait
            // 40 ms for the acknowledgment of the previous piece.
            if client.set_nodelay(true).is_err() || server.set_nodelay(true).is_err() {
                return;
            }
            let (from_client, to_client) = client.into_split();
            let (from_server, to_server) = server.into_split();
            let mut refused = shared.mode.subscribe();
            tokio::select! {
                () = pump(from_client, to_server, &shared, true) => {}
                () = pump(from_server, to_client, &shared, false) => {}
                _ = refused.wait_for(|mode| *mode == Mode::Refuse) => {}
                _ = upstream.changed() => {}
            }
        });
    }
}

async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    shared: &Shared,
    upward: bool,
) {
    let mut mode = shared.mode.subscribe();
    let mut messages = Messages::default();
    let mut buffer = vec![0; 65536];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        if !upward && *mode.borrow() == Mode::HoldUpdates && contains_update(&buffer[..length]) {
            shared.mode.send_replace(Mode::HoldAnswers);
        }
        let held = |mode: Mode| mode == Mode::Stall || (mode == Mode::HoldAnswers && !upward);
        if mode.wait_for(|mode| !held(*mode)).await.is_err() {
            return;
        }
        if upward {
            shared.sent.fetch_add(length as u64, Ordering::SeqCst);
            messages.read(&buffer[..length], &shared.statements);
        }
        if to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}

/// Returns whether a response of PostgreSQL contains the `CommandComplete` message of an `UPDATE`
/// that changed rows.
fn contains_update(answer: &[u8]) -> bool {
    const TAG: &[u8] = b"UPDATE ";
    answer
        .windows(TAG.len() + 1)
        .any(|window| window.starts_with(TAG) && matches!(window[TAG.len()], b'1'..=b'9'))
}

/// Splits the bytes that a client sends to PostgreSQL into messages. It finds no messages in other
/// protocols.
#[derive(Default)]
struct Messages {
    pending: Vec<u8>,
    started: bool,
}

impl Messages {
    fn read(&mut self, bytes: &[u8], statements: &Mutex<BTreeSet<Statement>>) {
        self.pending.extend_from_slice(bytes);
        loop {
            // The first message, the startup packet, has no type byte.
            let header = usize::from(self.started);
            let Some(length) = self.pending.get(header..header + 4) else { return };
            let length = u32::from_be_bytes(length.try_into().unwrap()) as usize;
            if length > 1 << 24 || self.pending.len() < header + length {
                return;
            }
            let message: Vec<u8> = self.pending.drain(..header + length).collect();
            let body = &message[header + 4..];
            if self.started {
                match message[0] {
                    b'Q' => record(body, statements),
                    // `Parse`: the name of the statement, then its text and the types of its
                    // parameters.
                    b'P' => {
                        if let Some(end) = body.iter().position(|byte| *byte == 0) {
                            record(&body[end + 1..], statements);
                        }
                    }
                    _ => {}
                }
            }
            self.started = true;
        }
    }
}

fn record(body: &[u8], statements: &Mutex<BTreeSet<Statement>>) {
    let end = body.iter().position(|byte| *byte == 0).unwrap_or(body.len());
    let text = String::from_utf8_lossy(&body[..end]).into_owned();
    // In a `Parse` message, a two-byte count and the four-byte OIDs follow. A `Query` message ends
    // before these fields.
    let types = body.get(end + 3..).unwrap_or_default().chunks_exact(4);
    let types = types.map(|oid| u32::from_be_bytes(oid.try_into().unwrap())).collect();
    statements.lock().unwrap().insert(Statement { text, types });
}
