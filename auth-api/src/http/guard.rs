//! What browsers make necessary: a request that changes something and carries a cookie comes from a
//! page of ours (cross-site request forgery), and no request carries two credentials.

use actix_web::body::{EitherBody, MessageBody};
use actix_web::cookie::Cookie;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::ORIGIN;
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage as _, ResponseError as _, web};

use super::{Problem, caller};
use crate::state::State;

/// A cookie to be set with the answer, whatever it is: the session lives for longer now.
pub(super) struct Renewal(pub(super) Cookie<'static>);

/// Stands before every endpoint under `/auth`.
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
        let answer = response.response_mut();
        // One that the endpoint has set itself says more: logged out, logged in anew.
        let settled = answer.cookies().any(|set| set.name() == cookie.name());
        if !settled {
            answer.add_cookie(&cookie).map_err(Error::from)?;
        }
    }
    Ok(response.map_into_left_body())
}

fn check(request: &ServiceRequest, state: &State) -> Result<(), Problem> {
    if !state.cookie.presented(request).is_some() {
        return Ok(());
    }
    if caller::names_bearer(request) {
        return Err(Problem::TwoCredentials);
    }
    if !request.method().is_safe() && origin(request, state) != Origin::Ours {
        return Err(Problem::ForbiddenOrigin);
    }
    Ok(())
}

/// Where a request says that it comes from. Browsers say so, and pages cannot make them say
/// anything else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// It does not say.
    Missing,
    /// `PUBLIC_URL`, or one of `ALLOWED_ORIGINS`.
    Ours,
    /// Another one, `null`, or more than one.
    Foreign,
}

/// The origin of a request.
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
