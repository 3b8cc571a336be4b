//! The operations port: liveness, readiness and metrics.

use std::sync::Arc;

use actix_web::{HttpResponse, web};
use metrics_exporter_prometheus::PrometheusHandle;
use metrics_process::Collector;
use schema::migrate;
use serde_json::json;

use crate::state::State;

/// GET /livez: returns 200 while the process runs, regardless of the state of PostgreSQL and Redis.
pub(super) async fn livez() -> HttpResponse {
    HttpResponse::Ok().json(json!({ "status": "ok" }))
}

/// GET /readyz: returns 200 if PostgreSQL is available and all migrations are applied. The response
/// also contains the state of Redis, which is not required.
pub(super) async fn readyz(state: web::Data<State>) -> HttpResponse {
    let shared = Arc::clone(&state);
    let checked = state
        .tasks
        .finish(async move { (postgres(&shared).await, shared.denylist.report().await) })
        .await;
    let Ok((postgres, redis)) = checked else { return HttpResponse::ServiceUnavailable().finish() };
    let (mut response, status) = match &postgres {
        Ok(()) => (HttpResponse::Ok(), "ready"),
        Err(_) => (HttpResponse::ServiceUnavailable(), "not ready"),
    };
    let postgres = postgres.err().unwrap_or_else(|| "ok".into());
    response.json(json!({ "status": status, "postgres": postgres, "redis": redis }))
}

async fn postgres(state: &State) -> Result<(), String> {
    if state.clock.now().is_none() {
        return Err("the database's clock has not been read yet".into());
    }
    let mut connection = state.database.acquire().await.map_err(|error| error.to_string())?;
    let pending = migrate::pending(&mut connection).await.map_err(|error| error.to_string())?;
    if pending.is_empty() {
        return Ok(());
    }
    Err(format!("migrations are missing ({}): run `auth-api migrate`", pending.join(", ")))
}

/// GET /metrics: returns the metrics in the Prometheus text format.
pub(super) async fn metrics(
    state: web::Data<State>,
    handle: web::Data<PrometheusHandle>,
) -> HttpResponse {
    state.database.report();
    state.connections.report();
    Collector::default().collect();
    HttpResponse::Ok()
        .content_type("text/plain; version=0.0.4; charset=utf-8")
        .body(handle.render())
}
