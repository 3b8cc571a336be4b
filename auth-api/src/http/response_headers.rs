//! Header fields that a response gets for what happened to its request.

use actix_web::Error;
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::middleware::Next;

use super::{bearer_error, limit};

/// Adds the error code of a rejected token, and how the request was counted. One middleware for
/// both, because each layer costs an allocation and a copy of the request.
pub async fn add(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let mut response = next.call(request).await?;
    bearer_error::add_to(&mut response);
    limit::show_in(&mut response);
    Ok(response)
}
