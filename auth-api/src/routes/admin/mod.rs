//! `/admin/*` on the operators' port: lists and ends sessions. Each endpoint is one file.

pub(super) mod account;
pub(super) mod revoke;
pub(super) mod session;
pub(super) mod sessions;

use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::middleware::{DefaultHeaders, Next, from_fn};
use actix_web::web::{self, ServiceConfig};
use actix_web::{Error, ResponseError as _};
use schema::ids::SessionId;
use schema::sessions::RevokedReason;
use tracing_actix_web::TracingLogger;

use super::{DELETE, GET, POST, Path, not_found, open};
use crate::admin::filter::InvalidArgument;
use crate::audit::{self, RevokedBy};
use crate::http::observe::{RequestSpan, observe};
use crate::http::{Client, Problem, bearer, bearer_error};
use crate::metrics;
use crate::state::State;

/// The path prefix of the endpoints.
pub(super) const SCOPE: &str = "/admin";

/// The endpoints, with paths relative to [`SCOPE`].
pub(super) static PATHS: &[Path] = &[
    open("/sessions", &[(GET, |route| route.to(sessions::get))]),
    open("/sessions/revoke", &[(POST, |route| route.to(revoke::post))]),
    open("/sessions/{id}", &[(DELETE, |route| route.to(session::delete))]),
    open("/accounts/{account}/sessions", &[(DELETE, |route| route.to(account::delete))]),
];

/// Registers the endpoints. Called only if `ADMIN_TOKEN_FILE` is set.
pub(super) fn configure(config: &mut ServiceConfig) {
    let scope = PATHS.iter().fold(web::scope(SCOPE), |scope, path| scope.service(path.resource()));
    let scope = scope
        .default_service(web::to(not_found))
        .wrap(from_fn(guard))
        .wrap(from_fn(bearer_error::add))
        .wrap(DefaultHeaders::new().add(("Cache-Control", "no-store")))
        .wrap(from_fn(observe))
        .wrap(TracingLogger::<RequestSpan>::new());
    config.service(scope);
}

/// Rejects every request without the operators' token, regardless of the path. Rejected requests
/// are logged but not rate-limited, because a token of at least 32 characters cannot be guessed.
async fn guard<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, Error> {
    let Some(state) = request.app_data::<web::Data<State>>().cloned() else {
        return Ok(request.into_response(Problem::Internal.error_response()).map_into_right_body());
    };
    let refused = match bearer::bearer(&request) {
        Some(token) if state.admin.accepts(token) => None,
        Some(_) => Some("another token"),
        None => Some("no token"),
    };
    let Some(reason) = refused else {
        return next.call(request).await.map(ServiceResponse::map_into_left_body);
    };
    let client = Client::of(request.request(), &state.trusted_proxies);
    audit::admin_refused(&client, request.match_pattern().as_deref(), reason);
    Ok(request.into_response(Problem::Unauthenticated.error_response()).map_into_right_body())
}

impl From<InvalidArgument> for Problem {
    fn from(InvalidArgument { field, expected }: InvalidArgument) -> Self {
        Self::malformed(field, format!("Expected {expected}."))
    }
}

/// Adds the sessions in `ended` to the denylist, and records in the metrics and the audit log that
/// an operator ended them.
async fn record_ended(state: &State, client: &Client, ended: &[SessionId]) {
    state.denylist.deny(ended).await;
    metrics::count_revoked(RevokedReason::Admin, ended.len());
    for id in ended {
        audit::revoke(Some(client), *id, &RevokedBy::Operator, RevokedReason::Admin);
    }
}
