//! The application: [`App::build`] binds the ports, and [`App::run`] serves until a shutdown signal
//! arrives.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::Server;
use actix_web::middleware::from_fn;
use actix_web::web::ServiceConfig;
use actix_web::{App as ActixApp, HttpServer, web};
use hardening::security_headers;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_actix_web::TracingLogger;

use crate::audit;
use crate::config::{Bounds, Config};
use crate::denylist;
use crate::http::cors::{EXPOSED, cors};
use crate::http::observe::{RequestSpan, observe};
use crate::http::{bounds, ops_host, response_headers};
use crate::last_seen;
use crate::metrics::expect_answers;
use crate::reload::{self, Sources};
use crate::routes::{self, specification, specification::ApiSpecification};
use crate::state::State;

/// A server whose ports are bound.
pub struct App {
    state: Arc<State>,
    api: Server,
    operations: Server,
    admin: Option<Server>,
    /// Address of the API.
    pub api_address: SocketAddr,
    /// Address of the operations port, which serves health and metrics.
    pub operations_address: SocketAddr,
    /// Address of the operators' endpoints; `None` if no operators' token is configured.
    pub admin_address: Option<SocketAddr>,
    shutdown_timeout: Duration,
    hangups: Signal,
    sources: Sources,
}

/// Interval of the upkeep task, which aggregates the samples of histograms, drops rate-limit
/// counters that are no longer needed, and logs the number of repeated rejections. Without this
/// task, the memory for this data would grow between scrapes.
const UPKEEP: Duration = Duration::from_secs(5);

impl App {
    /// Reads the signing keys and binds the ports. Each signal from `hangups` makes the server
    /// reload its keys, secrets and clients. Also succeeds if PostgreSQL or Redis is unavailable;
    /// `/readyz` then reports the outage.
    pub fn build(
        config: &Config,
        metrics: PrometheusHandle,
        hangups: Signal,
    ) -> anyhow::Result<Self> {
        if config.cookie_insecure {
            tracing::warn!(
                event = "cookie_insecure",
                "COOKIE_INSECURE is set: cookies are sent over plain HTTP; use it for local development only"
            );
        }
        if config.public_url.is_public_without_tls() {
            tracing::warn!(
                event = "public_url_without_tls",
                public_url = config.public_url.uri,
                "PUBLIC_URL is http:// for a public host: tokens and cookies can be read in transit"
            );
        }
        if config.admin_token.is_some() && !config.admin_bind.ip().is_loopback() {
            tracing::warn!(
                event = "admin_bind_not_loopback", admin_bind = %config.admin_bind,
                "ADMIN_BIND is not a loopback address: operators' requests arrive over plain HTTP; restrict access to it");
        }
        let state = Arc::new(State::new(config)?);
        expect_answers(specification::answers(config.demo));
        let (origins, demo) = (config.allowed_origins.clone(), config.demo);
        let issuer = config.issuer.clone();
        if demo {
            tracing::info!(
                event = "demo_served",
                url = config.public_url.at("/demo"),
                "serving the demo page"
            );
        }
        let Bounds { connections, keep_alive, head_timeout, .. } = config.bounds;
        let https = config.public_url.origin.starts_with("https://");
        let workers = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let (data, watcher) = (web::Data::from(Arc::clone(&state)), Arc::clone(&state));
        let specification = web::Data::new(ApiSpecification::at(&config.public_url.at(""))?);
        let api = HttpServer::new(move || {
            ActixApp::new()
                .app_data(data.clone())
                .app_data(specification.clone())
                .configure(|services| routes::api(services, &issuer, demo))
                .wrap(cors(&origins))
                .wrap(from_fn(response_headers::add))
                .wrap(from_fn(bounds::keep))
                .wrap(
                    security_headers::of_the_api(https)
                        .add(("Cache-Control", "no-store"))
                        .add(("Access-Control-Expose-Headers", EXPOSED)),
                )
                .wrap(from_fn(observe))
                .wrap(TracingLogger::<RequestSpan>::new())
        })
        .workers(workers)
        // The limit applies to each worker separately.
        .max_connections(connections.div_ceil(workers))
        .client_request_timeout(head_timeout)
        .keep_alive(keep_alive)
        .on_connect(move |stream, connection| bounds::watch_over(stream, connection, &watcher))
        // actix accepts whole seconds only. `run` enforces the exact timeout.
        .shutdown_timeout(config.shutdown_timeout.as_secs() + 1)
        .disable_signals()
        .bind(config.bind)
        .map_err(|error| anyhow::anyhow!("cannot listen on BIND={}: {error}", config.bind))?;

        let (operations, operations_address) =
            internal_port(("OPS_BIND", config.ops_bind), head_timeout, &state, move |services| {
                services.app_data(web::Data::new(metrics.clone())).configure(routes::operations);
            })?;
        // The operators' endpoints have a separate port, so that clients that may only scrape
        // metrics cannot reach them.
        let operators = ("ADMIN_BIND", config.admin_bind);
        let admin = state
            .admin
            .is_open()
            .then(|| internal_port(operators, head_timeout, &state, routes::operators));
        let (admin, admin_address) = admin.transpose()?.unzip();
        let api_address = api.addrs()[0];
        Ok(Self {
            state,
            api: api.run(),
            operations,
            admin,
            api_address,
            operations_address,
            admin_address,
            shutdown_timeout: config.shutdown_timeout,
            hangups,
            sources: Sources::of(config),
        })
    }

    /// Serves until SIGTERM or SIGINT, then finishes requests in progress within the shutdown
    /// timeout. A second signal stops the server immediately. The operations port responds until
    /// the shutdown is complete.
    pub async fn run(self, upkeep: impl Fn() + Send + 'static) -> anyhow::Result<()> {
        let Self { state, api, operations, admin, shutdown_timeout, hangups, sources, .. } = self;
        let (api_handle, operations_handle) = (api.handle(), operations.handle());
        let syncing = {
            let state = Arc::clone(&state);
            tokio::spawn(async move {
                denylist::keep_in_sync(&state.denylist, &state.database, &state.clock).await;
            })
        };
        let stop_touching = CancellationToken::new();
        let mut touching = {
            let (state, stop) = (Arc::clone(&state), stop_touching.clone());
            tokio::spawn(async move {
                last_seen::keep_up(&state.last_seen, &state.database, stop).await;
            })
        };
        let reloading = {
            let state = Arc::clone(&state);
            tokio::spawn(async move { reload::at_hangup(&state, &sources, hangups).await })
        };
        let upkeeping = {
            let state = Arc::clone(&state);
            tokio::spawn(async move {
                let mut ticks = tokio::time::interval(UPKEEP);
                loop {
                    ticks.tick().await;
                    upkeep();
                    state.limits.forget_the_rested();
                    state.repeats.due().iter().for_each(audit::repeated);
                }
            })
        };
        let admin_handle = admin.as_ref().map(Server::handle);
        let admin = admin.map(tokio::spawn);
        let operations = tokio::spawn(operations);
        let mut api = tokio::spawn(api);

        let (mut terminate, mut interrupt) =
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        tokio::select! {
            ended = &mut api => return Ok(ended??),
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!(
            event = "shutdown_started",
            deadline_s = shutdown_timeout.as_secs(),
            "shutting down: finishing requests in progress"
        );
        let drained = async {
            api_handle.stop(true).await;
            let _ = api.await;
            state.tasks.drain().await;
            stop_touching.cancel();
            let _ = (&mut touching).await;
        };
        tokio::select! {
            result = tokio::time::timeout(shutdown_timeout, drained) => {
                if result.is_err() {
                    tracing::warn!(event = "shutdown_deadline_exceeded", "shutdown deadline exceeded; some requests did not finish");
                }
            }
            _ = terminate.recv() => tracing::warn!(event = "shutdown_forced", "second signal received; stopping immediately"),
            _ = interrupt.recv() => tracing::warn!(event = "shutdown_forced", "second signal received; stopping immediately"),
        }
        syncing.abort();
        touching.abort();
        upkeeping.abort();
        reloading.abort();
        if let (Some(handle), Some(admin)) = (admin_handle, admin) {
            handle.stop(false).await;
            let _ = admin.await;
        }
        operations_handle.stop(false).await;
        let _ = operations.await;
        state.repeats.all().iter().for_each(audit::repeated);
        tracing::info!(event = "stopped", "stopped");
        Ok(())
    }
}

/// Binds a port that is not public. The port rejects requests whose `Host` is not allowed
/// (`OPS_HOSTS`).
fn internal_port(
    (variable, address): (&str, SocketAddr),
    head_timeout: Duration,
    state: &Arc<State>,
    routes: impl Fn(&mut ServiceConfig) + Clone + Send + 'static,
) -> anyhow::Result<(Server, SocketAddr)> {
    let data = web::Data::from(Arc::clone(state));
    let server = HttpServer::new(move || {
        ActixApp::new()
            .app_data(data.clone())
            .configure(routes.clone())
            .wrap(from_fn(bounds::keep))
            .wrap(from_fn(ops_host::check))
            .wrap(security_headers::of_operations())
    })
    .workers(1)
    .client_request_timeout(head_timeout)
    .shutdown_timeout(1)
    .disable_signals()
    .bind(address)
    .map_err(|error| anyhow::anyhow!("cannot listen on {variable}={address}: {error}"))?;
    let address = server.addrs()[0];
    Ok((server.run(), address))
}
