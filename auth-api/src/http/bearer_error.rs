//! The challenge (the header `WWW-Authenticate`) in a 401 response. It depends on the token in the
//! request (RFC 6750 §3.1, RFC 9470 §3).

use std::time::Duration;

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{AUTHORIZATION, HeaderValue, WWW_AUTHENTICATE};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage};

/// The challenge for a request without a token.
pub(super) const CHALLENGE: &str = "Bearer";

/// The challenge for a request whose token is not accepted. The client should obtain another token.
const INVALID_TOKEN: HeaderValue = HeaderValue::from_static(r#"Bearer error="invalid_token""#);

/// Returns the challenge for a request whose user must log in again (RFC 9470 §3).
pub(super) fn too_old(max_age: Duration) -> String {
    const ERROR: &str = r#"error="insufficient_user_authentication", error_description="A more recent login is needed""#;
    format!(r#"{CHALLENGE} {ERROR}, max_age="{}""#, max_age.as_secs())
}

/// Adds `error="invalid_token"` to the challenge of a response if the request presented a token. A
/// request without a token gets no error code, because its client may not have known that a token
/// is required.
pub async fn add(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let mut response = next.call(request).await?;
    add_to(&mut response);
    Ok(response)
}

/// Does the same as [`add`] for an existing response.
pub fn add_to(response: &mut ServiceResponse<impl MessageBody>) {
    let challenged =
        response.headers().get(WWW_AUTHENTICATE).is_some_and(|challenge| challenge == CHALLENGE);
    if challenged && presents_token(response.request()) {
        response.headers_mut().insert(WWW_AUTHENTICATE, INVALID_TOKEN);
    }
}

/// Returns whether anything follows the word `Bearer` in any `Authorization` header.
fn presents_token(request: &impl HttpMessage) -> bool {
    request.headers().get_all(AUTHORIZATION).any(|header| {
        let mut words = header.as_bytes().trim_ascii().split(u8::is_ascii_whitespace);
        let bearer =
            words.next().is_some_and(|scheme| scheme.eq_ignore_ascii_case(CHALLENGE.as_bytes()));
        bearer && words.next().is_some()
    })
}
