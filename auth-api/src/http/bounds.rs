//! What a connection and a request's head may take. A body's bounds are where it is read, in [`Json`](super::Json).

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
use actix_web::{Error, HttpResponse, web};
use hardening::request_head;
use tokio::sync::watch;

use super::Peer;
use crate::config::Bounds;
use crate::state::State;

/// A connection of ours, as its requests see it.
struct Connection(Rc<watch::Sender<Progress>>);

/// Requests until now.
#[derive(Clone, Copy, Default)]
struct Progress {
    begun: u64,
    ended: u64,
    /// The last answer said that it was the last.
    over: bool,
}

/// Ends a connection on which there has been no request for too long: to be called when one has come in.
///
/// actix limits the time for the head of a connection's *first* request, and the pause after an answer. The first byte of
/// the next head ends that pause, and nothing limits how long the second byte may take: a client that has been answered
/// once could stay for good. So could one that was answered before its chunked body came to an end: actix reads on.
pub fn watch_over(stream: &dyn Any, connection: &mut Extensions, bounds: Bounds) {
    // A second descriptor for the socket; without one actix' bounds have to do.
    let socket = stream.downcast_ref::<TcpStream>().and_then(|stream| stream.as_fd().try_clone_to_owned().ok());
    let Some(socket) = socket.map(Socket::from).map(Arc::new) else { return };
    connection.insert(Peer::new(Arc::clone(&socket)));
    let (progress, seen) = watch::channel(Progress::default());
    connection.insert(Connection(Rc::new(progress)));
    actix_web::rt::spawn(cut_off(socket, seen, bounds));
}

/// Ends with the connection; or ends it.
async fn cut_off(socket: Arc<Socket>, mut seen: watch::Receiver<Progress>, bounds: Bounds) {
    while let Ok(Progress { begun, over, .. }) = seen.wait_for(|now| now.begun == now.ended).await.map(|now| *now) {
        // After the last answer there is nothing to wait for but that the client has taken it.
        let pause = if over { Duration::ZERO } else { bounds.keep_alive };
        match tokio::time::timeout(pause + bounds.head_timeout, seen.wait_for(|now| now.begun > begun)).await {
            Ok(Ok(_)) => {}
            Ok(Err(_)) => return,
            Err(_) => {
                let _ = socket.shutdown(Shutdown::Both);
                return;
            }
        }
    }
}

/// A request that is under way.
struct UnderWay(Rc<watch::Sender<Progress>>);

impl UnderWay {
    fn on(connection: &Connection) -> Self {
        connection.0.send_modify(|now| now.begun += 1);
        Self(Rc::clone(&connection.0))
    }

    fn is_the_last(&self) {
        self.0.send_modify(|now| now.over = true);
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.send_modify(|now| now.ended += 1);
    }
}

/// Refuses a head that is larger than is allowed, with 431 and the connection's end, and notes that a request is under way.
pub async fn keep(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let under_way = request.conn_data::<Connection>().map(UnderWay::on);
    let most = request.app_data::<web::Data<State>>().map_or(usize::MAX, |state| state.bounds.head_size);
    let response = if request_head::size(&request) > most {
        let mut refusal = HttpResponse::build(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
        request.into_response(refusal.force_close().finish()).map_into_right_body()
    } else {
        next.call(request).await?.map_into_left_body()
    };
    if response.response().head().connection_type() == ConnectionType::Close {
        under_way.iter().for_each(UnderWay::is_the_last);
    }
    Ok(response)
}
