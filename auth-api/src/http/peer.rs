use std::io::ErrorKind;
use std::net::TcpStream;
use std::sync::Arc;

use actix_web::HttpRequest;

/// The other end of a request's connection: the client, or the proxy that forwarded the request.
///
/// Work that outlives its request ([`Tasks`](crate::tasks::Tasks)) receives no signal when the
/// client disconnects. A process that was suspended may read requests of clients that disconnected
/// long ago. Only the socket shows whether the client is still connected.
#[derive(Clone)]
pub struct Peer(Option<Arc<TcpStream>>);

impl Peer {
    /// Creates the peer at the other end of `socket`, which must be in non-blocking mode.
    pub(super) fn new(socket: Arc<TcpStream>) -> Self {
        Self(Some(socket))
    }

    /// Returns the peer of a request.
    #[must_use]
    pub fn of(request: &HttpRequest) -> Self {
        request.conn_data::<Self>().cloned().unwrap_or(Self(None))
    }

    /// Returns whether the peer has closed the connection, or the half of the connection in which
    /// the peer sends. A connection whose socket is unknown counts as open.
    #[must_use]
    pub fn has_hung_up(&self) -> bool {
        self.0.as_ref().is_some_and(|socket| match socket.peek(&mut [0]) {
            Ok(bytes) => bytes == 0,
            Err(error) => error.kind() != ErrorKind::WouldBlock,
        })
    }
}
