//! Response headers that depend on how the request was handled.

use actix_web::Error;
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::middleware::Next;

use super::{bearer_error, limit};

/// Adds the error code for a rejected token, and the rate-limit headers. One middleware does both,
/// because each layer costs an allocation and a copy of the request.
pub async fn add(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let mut response = next.call(request).await?;
    bearer_error::add_to(&mut response);
    limit::show_in(&mut response);
    Ok(response)
}
