//! The operations port of the daemon: `/livez`, `/readyz`, `/metrics`, the status page at `/` and
//! its data at `/status.json`.

mod board;
mod guard;
mod page;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use actix_web::dev::Server;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use actix_web::middleware::{Compress, from_fn};
use actix_web::{App, HttpResponse, HttpServer, web};
use chrono::{DateTime, Utc};
use hardening::ops_hosts::OpsHosts;
use hardening::security_headers;
use metrics_exporter_prometheus::PrometheusHandle;
use pg::connect::ConnectOptions;
use serde_json::json;
use tokio::sync::{Mutex, watch};

use board::Board;
use page::Page;

use crate::metrics;
use crate::reload::Sweeps;
use crate::short_queries::questions;
use crate::status::Rhythm;
use crate::watchdog::{self, Liveness};
use reaper::Progress;

/// How long the result of a readiness check is cached. Therefore, at most one connection per second
/// is made, however often a supervisor checks.
const READY_FOR: Duration = Duration::from_secs(1);

/// Timeout of a readiness check. It is shorter than the usual timeout of the requests of a
/// supervisor.
const READY_WITHIN: Duration = Duration::from_secs(2);

/// The time that open requests have to finish when the daemon stops.
const DRAIN_SECONDS: u64 = 5;

/// The current activity of the daemon.
#[derive(Clone, Debug)]
pub struct Live {
    /// The progress of the active run.
    pub progress: watch::Receiver<Progress>,
    /// The time of the next run, by the clock of this host.
    pub next: watch::Receiver<Option<DateTime<Utc>>>,
    /// The times at which runs of this daemon are expected.
    pub rhythm: Rhythm,
}

struct Ops {
    metrics: PrometheusHandle,
    hosts: OpsHosts,
    connect: ConnectOptions,
    /// The result of the last readiness check, and the time of this check. Locked during a check,
    /// so that only one check runs at a time.
    ready: Mutex<Option<(Instant, bool)>>,
    liveness: std::sync::Mutex<Liveness>,
    board: Board,
    page: Page,
}

/// Binds the port. Returns the server and the address to which it is bound, because `bind` may
/// contain the port 0.
pub fn serve(
    bind: SocketAddr,
    hosts: &OpsHosts,
    metrics: PrometheusHandle,
    sweeps: Sweeps,
    live: Live,
) -> std::io::Result<(Server, SocketAddr)> {
    let connect = questions(&sweeps.borrow().connect);
    let (board, page) = (Board::new(sweeps, live), Page::new());
    let hosts = hosts.clone();
    let liveness = std::sync::Mutex::new(Liveness::new(watchdog::signs(), Instant::now()));
    let ready = Mutex::new(None);
    let ops = web::Data::new(Ops { metrics, hosts, connect, ready, liveness, board, page });
    let server = HttpServer::new(move || {
        App::new()
            .app_data(ops.clone())
            .service(web::resource("/livez").get(livez).head(livez))
            .service(web::resource("/readyz").get(readyz).head(readyz))
            .service(web::resource("/metrics").wrap(Compress::default()).get(render).head(render))
            .service(web::resource("/").get(index).head(index))
            .service(web::resource("/status.json").get(status).head(status))
            .wrap(from_fn(guard::check))
            .wrap(security_headers::of_operations())
    })
    .workers(1)
    .disable_signals()
    .shutdown_timeout(DRAIN_SECONDS)
    .bind(bind)?;
    let address = server.addrs().first().copied().unwrap_or(bind);
    Ok((server.run(), address))
}

/// Reports whether the daemon's loop is alive.
async fn livez(ops: web::Data<Ops>) -> HttpResponse {
    let limit = watchdog::longest_silence(ops.board.bounds());
    let alive = match ops.liveness.lock() {
        Ok(mut liveness) => liveness.check(watchdog::signs(), Instant::now(), limit),
        Err(_) => false,
    };
    if alive {
        HttpResponse::Ok().json(json!({"status": "alive"}))
    } else {
        HttpResponse::ServiceUnavailable().json(json!({"status": "stalled"}))
    }
}

/// Reports whether the database is reachable.
async fn readyz(ops: web::Data<Ops>) -> HttpResponse {
    let mut ready = ops.ready.lock().await;
    let reachable = match *ready {
        Some((at, reachable)) if at.elapsed() < READY_FOR => reachable,
        _ => {
            let reachable =
                tokio::time::timeout(READY_WITHIN, answers(&ops.connect)).await.unwrap_or(false);
            *ready = Some((Instant::now(), reachable));
            reachable
        }
    };
    if reachable {
        HttpResponse::Ok().json(json!({"status": "ready", "database": "reachable"}))
    } else {
        HttpResponse::ServiceUnavailable()
            .json(json!({"status": "not ready", "database": "unreachable"}))
    }
}

async fn render(ops: web::Data<Ops>) -> HttpResponse {
    metrics::process();
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8"))
        .body(ops.metrics.render())
}

/// Serves the status page.
async fn index(ops: web::Data<Ops>) -> HttpResponse {
    ops.page.answer()
}

/// Serves the data of the status page.
async fn status(ops: web::Data<Ops>) -> HttpResponse {
    let shown = ops.board.show().await;
    HttpResponse::Ok().insert_header((CACHE_CONTROL, "no-store")).json(shown)
}

async fn answers(connect: &ConnectOptions) -> bool {
    let Ok(client) = connect.connect().await else { return false };
    client.simple_query("SELECT 1").await.is_ok()
}
