use std::io::ErrorKind;
use std::net::TcpStream;
use std::sync::Arc;

use actix_web::HttpRequest;

/// The other end of a request's connection: a client, or the proxy that speaks for it.
///
/// Work that outlives its request ([`Tasks`](crate::state::Tasks)) is not told that the client has
/// hung up, and a process that was paused reads requests whose clients left long ago. The socket
/// knows.
#[derive(Clone)]
pub struct Peer(Option<Arc<TcpStream>>);

impl Peer {
    /// The peer at the other end of `socket`, which does not block.
    pub(super) fn new(socket: Arc<TcpStream>) -> Self {
        Self(Some(socket))
    }

    /// The peer of a request.
    #[must_use]
    pub fn of(request: &HttpRequest) -> Self {
        request.conn_data::<Self>().cloned().unwrap_or(Self(None))
    }

    /// Whether the peer has closed the connection, or its half of it. A connection whose socket is
    /// not known counts as open.
    #[must_use]
    pub fn has_hung_up(&self) -> bool {
        self.0.as_ref().is_some_and(|socket| match socket.peek(&mut [0]) {
            Ok(bytes) => bytes == 0,
            Err(error) => error.kind() != ErrorKind::WouldBlock,
        })
    }
}
