//! Protection against cross-site request forgery and ambiguous requests. A request that can change
//! something and contains a session cookie must come from a page of an allowed origin, and no
//! request may contain two credentials.

use actix_web::body::{EitherBody, MessageBody};
use actix_web::cookie::Cookie;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::ORIGIN;
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage as _, ResponseError as _, web};

use super::{Problem, bearer};
use crate::state::State;

/// The cookie to set in the response after the session has been extended, regardless of the status
/// of the response.
pub(super) struct Renewal(pub(super) Cookie<'static>);

/// Checks each request to an endpoint under `/auth`, and adds the renewed cookie to the response.
pub async fn guard<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, Error> {
    let Some(state) = request.app_data::<web::Data<State>>().cloned() else {
        return Ok(request.into_response(Problem::Internal.error_response()).map_into_right_body());
    };
    if let Err(problem) = check(&request, &state) {
        return Ok(request.into_response(problem.error_response()).map_into_right_body());
    }
    let mut response = next.call(request).await?;
    let renewal = response.request().extensions_mut().remove::<Renewal>();
    if let Some(Renewal(cookie)) = renewal {
        let inner = response.response_mut();
        // A cookie that the endpoint itself has set takes precedence, because the endpoint has
        // ended the session or replaced it by a new one.
        let already_set = inner.cookies().any(|set| set.name() == cookie.name());
        if !already_set {
            inner.add_cookie(&cookie).map_err(Error::from)?;
        }
    }
    Ok(response.map_into_left_body())
}

fn check(request: &ServiceRequest, state: &State) -> Result<(), Problem> {
    if !state.cookie.presented(request).is_some() {
        return Ok(());
    }
    if bearer::names_bearer(request) {
        return Err(Problem::TwoCredentials);
    }
    if !request.method().is_safe() && origin(request, state) != Origin::Ours {
        return Err(Problem::ForbiddenOrigin);
    }
    Ok(())
}

/// The origin that a request reports. Browsers always report it, and pages cannot forge it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The request has no `Origin` header.
    Missing,
    /// The origin of `PUBLIC_URL`, or one of `ALLOWED_ORIGINS`.
    Ours,
    /// Another origin, `null`, or more than one `Origin` header.
    Foreign,
}

/// Returns the origin of a request.
pub fn origin(request: &impl actix_web::HttpMessage, state: &State) -> Origin {
    let mut origins = request.headers().get_all(ORIGIN);
    match (origins.next(), origins.next()) {
        (None, _) => Origin::Missing,
        (Some(one), None) if state.origins.iter().any(|ours| one.as_bytes() == ours.as_bytes()) => {
            Origin::Ours
        }
        _ => Origin::Foreign,
    }
}
