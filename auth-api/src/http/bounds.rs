//! What a connection and a request's head may take. A body's bounds are where it is read, in
//! [`Json`](super::Json).

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

/// A connection of ours, as its requests see it.
struct Connection {
    progress: Arc<watch::Sender<Progress>>,
    place: Rc<Place>,
}

/// How long the rest of an answer may take on a connection that another one replaces.
const LAST_BYTES: Duration = Duration::from_secs(1);

/// Takes a connection in, or closes it where its network has enough of them; and ends it once there
/// has been no request for too long. To be called when a connection has come in.
///
/// actix limits the time for the head of a connection's *first* request, and the pause after an
/// answer. The first byte of the next head ends that pause, and nothing limits how long the second
/// byte may take: a client that has been answered once could stay for good. So could one that was
/// answered before its chunked body came to an end: actix reads on.
pub fn watch_over(stream: &dyn Any, connection: &mut Extensions, state: &State) {
    // A second descriptor for the socket; without one actix' bounds have to do.
    let stream = stream.downcast_ref::<TcpStream>();
    let socket = stream.and_then(|stream| stream.as_fd().try_clone_to_owned().ok());
    let Some(socket) = socket.map(Socket::from).map(Arc::new) else { return };
    // A socket without a peer is closed already.
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
    actix_web::rt::spawn(cut_off(socket, seen, state.bounds));
}

/// Ends with the connection; or ends it.
async fn cut_off(socket: Arc<Socket>, mut seen: watch::Receiver<Progress>, bounds: Bounds) {
    while let Ok(now) =
        seen.wait_for(|now| now.closing || now.begun == now.ended).await.map(|now| *now)
    {
        if now.closing {
            return make_way(&socket, seen).await;
        }
        // After the last answer there is nothing to wait for but that the client has taken it.
        let pause = if now.over { Duration::ZERO } else { bounds.keep_alive };
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

/// Closes an idle connection. actix takes the end of what it reads for the end of the connection,
/// after it has written what is left of the last answer.
async fn make_way(socket: &Socket, mut seen: watch::Receiver<Progress>) {
    let _ = socket.shutdown(Shutdown::Read);
    if tokio::time::timeout(LAST_BYTES, seen.wait_for(|_| false)).await.is_err() {
        let _ = socket.shutdown(Shutdown::Both);
    }
}

/// A request that is under way.
struct UnderWay {
    progress: Arc<watch::Sender<Progress>>,
    place: Rc<Place>,
}

impl UnderWay {
    /// `None`: the connection is being closed.
    fn on(connection: &Connection) -> Option<Self> {
        let (progress, place) = (Arc::clone(&connection.progress), Rc::clone(&connection.place));
        place.begin().then(|| {
            progress.send_modify(|now| now.begun += 1);
            Self { progress, place }
        })
    }

    fn is_the_last(&self) {
        self.progress.send_modify(|now| now.over = true);
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.progress.send_modify(|now| now.ended += 1);
        self.place.end();
    }
}

/// Refuses a head that is larger than is allowed, with 431 and the connection's end, and notes that
/// a request is under way. A request that arrives while its connection is being closed is not
/// executed: the client is told to send it again.
pub async fn keep(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let under_way = request.conn_data::<Connection>().map(UnderWay::on);
    if matches!(under_way, Some(None)) {
        let mut refusal = Problem::Unavailable.error_response();
        refusal.head_mut().set_connection_type(ConnectionType::Close);
        return Ok(request.into_response(refusal).map_into_right_body());
    }
    let most =
        request.app_data::<web::Data<State>>().map_or(usize::MAX, |state| state.bounds.head_size);
    let response = if request_head::size(&request) > most {
        let mut refusal = HttpResponse::build(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
        request.into_response(refusal.force_close().finish()).map_into_right_body()
    } else {
        next.call(request).await?.map_into_left_body()
    };
    if response.response().head().connection_type() == ConnectionType::Close {
        under_way.iter().flatten().for_each(UnderWay::is_the_last);
    }
    Ok(response)
}
