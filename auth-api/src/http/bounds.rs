//! The limits on connections and on request headers. The limits on request bodies are applied where
//! a body is read, in [`Json`](super::Json) and [`Form`](super::Form).

use std::any::Any;
use std::net::{Shutdown, TcpStream as Socket};
use std::os::fd::AsFd as _;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix_web::body::MessageBody;
use actix_web::dev::{Extensions, ServiceRequest, ServiceResponse};
use actix_web::http::{ConnectionType, StatusCode};
use actix_web::middleware::Next;
use actix_web::rt::net::TcpStream;
use actix_web::{Error, HttpResponse, ResponseError as _, web};
use hardening::request_head;
use tokio::sync::watch;

use super::connections::{Place, Progress};
use super::{Peer, Problem};
use crate::config::Bounds;
use crate::state::State;

/// The state of a connection, shared by its requests.
struct Connection {
    progress: Arc<watch::Sender<Progress>>,
    place: Rc<Place>,
}

/// How long the rest of a response may take when its connection is closed to make room for another
/// connection.
const LAST_BYTES: Duration = Duration::from_secs(1);

/// Registers a new connection, or closes it if its network already has too many connections. Closes
/// the connection later if it stays idle for too long. Call this when a connection is accepted.
///
/// actix limits the time for the headers of a connection's *first* request, and the pause after a
/// response. The first byte of the next request ends that pause, and nothing limits how long the
/// second byte may take. So a client that has received one response could keep the connection open
/// forever. The same applies to a client that receives a response before it has sent the end of its
/// chunked body, because actix continues to read the body.
pub fn watch_over(stream: &dyn Any, connection: &mut Extensions, state: &State) {
    // Duplicate the descriptor of the socket. If this fails, only actix's own limits apply.
    let stream = stream.downcast_ref::<TcpStream>();
    let socket = stream.and_then(|stream| stream.as_fd().try_clone_to_owned().ok());
    let Some(socket) = socket.map(Socket::from).map(Arc::new) else { return };
    // A socket without a peer is already closed.
    let Ok(peer) = socket.peer_addr() else { return };
    connection.insert(Peer::new(Arc::clone(&socket)));
    let (progress, seen) = watch::channel(Progress::default());
    let progress = Arc::new(progress);
    let entered = state.connections.enter(peer.ip(), Arc::clone(&progress), &state.repeats);
    if entered.is_err() {
        let _ = socket.shutdown(Shutdown::Both);
    }
    let (Ok(place) | Err(place)) = entered;
    connection.insert(Connection { progress, place: Rc::new(place) });
    actix_web::rt::spawn(watch_idle_time(socket, seen, state.bounds));
}

/// Watches a connection until it ends. Closes the connection if it is idle for too long, or if it
/// must make room for another connection.
async fn watch_idle_time(socket: Arc<Socket>, mut seen: watch::Receiver<Progress>, bounds: Bounds) {
    while let Ok(now) =
        seen.wait_for(|now| now.closing || now.begun == now.ended).await.map(|now| *now)
    {
        if now.closing {
            return close_idle(&socket, seen).await;
        }
        // After a response that announced the end of the connection, wait only until the client has
        // received the response.
        let pause = if now.close_announced { Duration::ZERO } else { bounds.keep_alive };
        let next = seen.wait_for(|later| later.closing || later.begun > now.begun);
        match tokio::time::timeout(pause + bounds.head_timeout, next).await {
            Ok(Ok(_)) => {}
            Ok(Err(_)) => return,
            Err(_) => {
                let _ = socket.shutdown(Shutdown::Both);
                return;
            }
        }
    }
}

/// Closes an idle connection. First, shuts down only the half from which actix reads. actix then
/// writes the rest of the last response and ends the connection. If this takes longer than
/// [`LAST_BYTES`], shuts down both halves.
async fn close_idle(socket: &Socket, mut seen: watch::Receiver<Progress>) {
    let _ = socket.shutdown(Shutdown::Read);
    if tokio::time::timeout(LAST_BYTES, seen.wait_for(|_| false)).await.is_err() {
        let _ = socket.shutdown(Shutdown::Both);
    }
}

/// A request that is in progress.
struct RequestInProgress {
    progress: Arc<watch::Sender<Progress>>,
    place: Rc<Place>,
}

impl RequestInProgress {
    /// Marks a request as in progress. Returns `None` if the connection is being closed.
    fn begin(connection: &Connection) -> Option<Self> {
        let (progress, place) = (Arc::clone(&connection.progress), Rc::clone(&connection.place));
        place.begin().then(|| {
            progress.send_modify(|now| now.begun += 1);
            Self { progress, place }
        })
    }

    fn announce_close(&self) {
        self.progress.send_modify(|now| now.close_announced = true);
    }
}

impl Drop for RequestInProgress {
    fn drop(&mut self) {
        self.progress.send_modify(|now| now.ended += 1);
        self.place.end();
    }
}

/// Marks a request as in progress. If its headers are too large, rejects it with 431 and closes the
/// connection. A request that arrives while its connection is being closed is not executed: it gets
/// a 503 with `Retry-After`.
pub async fn keep(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let in_progress = request.conn_data::<Connection>().map(RequestInProgress::begin);
    if matches!(in_progress, Some(None)) {
        let mut refusal = Problem::Unavailable.error_response();
        refusal.head_mut().set_connection_type(ConnectionType::Close);
        return Ok(request.into_response(refusal).map_into_right_body());
    }
    let max_size =
        request.app_data::<web::Data<State>>().map_or(usize::MAX, |state| state.bounds.head_size);
    let response = if request_head::size(&request) > max_size {
        let mut refusal = HttpResponse::build(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
        request.into_response(refusal.force_close().finish()).map_into_right_body()
    } else {
        next.call(request).await?.map_into_left_body()
    };
    if response.response().head().connection_type() == ConnectionType::Close {
        in_progress.iter().flatten().for_each(RequestInProgress::announce_close);
    }
    Ok(response)
}
