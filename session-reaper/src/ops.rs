//! What the daemon serves to operators: `/livez`, `/readyz`, `/metrics`, and the status page at `/`
//! with its `/status.json`.

mod board;
mod guard;
mod page;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use actix_web::dev::Server;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use actix_web::middleware::from_fn;
use actix_web::{App, HttpResponse, HttpServer, web};
use chrono::{DateTime, Utc};
use hardening::ops_hosts::OpsHosts;
use hardening::security_headers;
use metrics_exporter_prometheus::PrometheusHandle;
use schema::connect::ConnectOptions;
use serde_json::json;
use tokio::sync::{Mutex, watch};

use board::Board;
use page::Page;

use crate::sweep::{Progress, Sweep};

/// How long an answer about the database stands: probes may come as often as they like, connections
/// are made once a second.
const READY_FOR: Duration = Duration::from_secs(1);

/// Probes give up after a second or a few; the answer has to come before.
const READY_WITHIN: Duration = Duration::from_secs(2);

/// Scrapers and supervisors finish their few requests well within it.
const DRAIN_SECONDS: u64 = 5;

/// What the daemon is doing now.
#[derive(Clone, Debug)]
pub struct Live {
    /// The run under way.
    pub progress: watch::Receiver<Progress>,
    /// When the next one is due, by this host's clock.
    pub next: watch::Receiver<Option<DateTime<Utc>>>,
}

struct Ops {
    metrics: PrometheusHandle,
    hosts: OpsHosts,
    connect: ConnectOptions,
    /// Whether the database answered, and when. Held while it is asked, so that only one asks.
    ready: Mutex<Option<(Instant, bool)>>,
    board: Board,
    page: Page,
}

/// Binds, and returns the server with the address that it really has.
pub fn serve(
    bind: SocketAddr,
    hosts: &OpsHosts,
    metrics: PrometheusHandle,
    sweep: &Sweep,
    live: Live,
) -> std::io::Result<(Server, SocketAddr)> {
    let connect = questions(&sweep.connect);
    let (board, page) = (Board::new(sweep, live), Page::new());
    let hosts = hosts.clone();
    let ops = web::Data::new(Ops { metrics, hosts, connect, ready: Mutex::new(None), board, page });
    let server = HttpServer::new(move || {
        App::new()
            .app_data(ops.clone())
            .route("/livez", web::get().to(livez))
            .route("/readyz", web::get().to(readyz))
            .route("/metrics", web::get().to(render))
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

/// For questions beside the work: a server process that is given up ends by itself soon, also one
/// that waits for a lock.
#[must_use]
pub fn questions(connect: &ConnectOptions) -> ConnectOptions {
    connect.clone().set("statement_timeout", "2s").set("lock_timeout", "1s")
}

/// The process is there.
async fn livez() -> HttpResponse {
    HttpResponse::Ok().json(json!({"status": "alive"}))
}

/// The database can be reached.
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
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8"))
        .body(ops.metrics.render())
}

/// The status page.
async fn index(ops: web::Data<Ops>) -> HttpResponse {
    ops.page.answer()
}

/// What it shows.
async fn status(ops: web::Data<Ops>) -> HttpResponse {
    let shown = ops.board.show().await;
    HttpResponse::Ok().insert_header((CACHE_CONTROL, "no-store")).json(shown)
}

async fn answers(connect: &ConnectOptions) -> bool {
    let Ok(client) = connect.connect().await else { return false };
    client.simple_query("SELECT 1").await.is_ok()
}
