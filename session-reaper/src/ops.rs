//! What the daemon serves to operators: `/livez`, `/readyz`, `/metrics`.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use actix_web::dev::Server;
use actix_web::http::header::CONTENT_TYPE;
use actix_web::{App, HttpResponse, HttpServer, web};
use chrono::{DateTime, Utc};
use metrics_exporter_prometheus::PrometheusHandle;
use schema::connect::ConnectOptions;
use serde_json::json;
use tokio::sync::{Mutex, watch};

use crate::sweep::Progress;

/// How long an answer about the database stands: probes may come as often as they like, connections are made once a second.
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
    live: Live,
    metrics: PrometheusHandle,
    connect: ConnectOptions,
    /// Whether the database answered, and when. Held while it is asked, so that only one asks.
    ready: Mutex<Option<(Instant, bool)>>,
}

/// Binds, and returns the server with the address that it really has.
pub fn serve(
    bind: SocketAddr,
    metrics: PrometheusHandle,
    connect: ConnectOptions,
    live: Live,
) -> std::io::Result<(Server, SocketAddr)> {
    let ops = web::Data::new(Ops { live, metrics, connect, ready: Mutex::new(None) });
    let server = HttpServer::new(move || {
        App::new()
            .app_data(ops.clone())
            .route("/livez", web::get().to(livez))
            .route("/readyz", web::get().to(readyz))
            .route("/metrics", web::get().to(render))
    })
    .workers(1)
    .disable_signals()
    .shutdown_timeout(DRAIN_SECONDS)
    .bind(bind)?;
    let address = server.addrs().first().copied().unwrap_or(bind);
    Ok((server.run(), address))
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
            let reachable = tokio::time::timeout(READY_WITHIN, answers(&ops.connect)).await.unwrap_or(false);
            *ready = Some((Instant::now(), reachable));
            reachable
        }
    };
    if reachable {
        HttpResponse::Ok().json(json!({"status": "ready", "database": "reachable"}))
    } else {
        HttpResponse::ServiceUnavailable().json(json!({"status": "not ready", "database": "unreachable"}))
    }
}

async fn render(ops: web::Data<Ops>) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8"))
        .body(ops.metrics.render())
}

async fn answers(connect: &ConnectOptions) -> bool {
    let Ok(client) = connect.connect().await else { return false };
    client.simple_query("SELECT 1").await.is_ok()
}
