//! Sends the requests, one at a time over one connection. The reasons for rejection are in random
//! order, and each reason occurs equally often.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Instant;

use anyhow::{Result, ensure};
use bytes::Bytes;
use hyper::StatusCode;

use super::Reason;
use crate::api::client::{Connection, Request};

/// Response times of the rejections, in microseconds.
pub(super) type Took = BTreeMap<Reason, Vec<f64>>;

/// Before the measurement, connections, statements and buffers are warmed up with a fraction of the
/// tries: their number divided by this number.
const WARM_UP: usize = 10;

/// Sends `tries` requests for each reason. The runtime uses only this thread, so that no other
/// thread has to be woken up for a response.
pub(super) fn all(
    address: SocketAddr,
    credentials: &[(Reason, Vec<Request>)],
    tries: usize,
) -> Result<Took> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut connection = Connection::open(address).await?;
        some(&mut connection, credentials, tries.div_ceil(WARM_UP)).await?;
        some(&mut connection, credentials, tries).await
    })
}

async fn some(
    connection: &mut Connection,
    credentials: &[(Reason, Vec<Request>)],
    tries: usize,
) -> Result<Took> {
    let mut order: Vec<_> = credentials
        .iter()
        .flat_map(|(reason, requests)| {
            requests.iter().cycle().take(tries).map(move |request| (*reason, request))
        })
        .collect();
    fastrand::shuffle(&mut order);
    let (mut took, mut first_body) = (Took::new(), None::<Bytes>);
    for (reason, request) in order {
        let request = request.clone();
        let began = Instant::now();
        let answer = connection.ask(request).await?;
        took.entry(reason).or_default().push(began.elapsed().as_secs_f64() * 1e6);
        let (status, body) = (answer.status, String::from_utf8_lossy(&answer.body));
        ensure!(status == StatusCode::UNAUTHORIZED, "{} returned {status}: {body}", reason.name());
        let first_body = first_body.get_or_insert_with(|| answer.body.clone());
        ensure!(*first_body == answer.body, "{} has a different body: {body}", reason.name());
    }
    Ok(took)
}
