//! What a 401 says of the token that came with its request (RFC 6750 §3.1, RFC 9470 §3).

use std::time::Duration;

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{AUTHORIZATION, HeaderValue, WWW_AUTHENTICATE};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage};

/// The challenge to a request without a token.
pub(super) const CHALLENGE: &str = "Bearer";

/// The challenge to one with a token that is not accepted: the client should get another one.
const INVALID_TOKEN: HeaderValue = HeaderValue::from_static(r#"Bearer error="invalid_token""#);

/// The challenge to one whose owner has to authenticate again (RFC 9470 §3).
pub(super) fn too_old(max_age: Duration) -> String {
    const ERROR: &str = r#"error="insufficient_user_authentication", error_description="A more recent login is needed""#;
    format!(r#"{CHALLENGE} {ERROR}, max_age="{}""#, max_age.as_secs())
}

/// Adds `error="invalid_token"` to the challenge of an answer where the request presented a token.
/// Without one the client may just not have known that it needs one, and gets no error code.
pub async fn add(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let mut response = next.call(request).await?;
    add_to(&mut response);
    Ok(response)
}

/// [`add`] for a response that is there already.
pub fn add_to(response: &mut ServiceResponse<impl MessageBody>) {
    let challenged =
        response.headers().get(WWW_AUTHENTICATE).is_some_and(|challenge| challenge == CHALLENGE);
    if challenged && presents_token(response.request()) {
        response.headers_mut().insert(WWW_AUTHENTICATE, INVALID_TOKEN);
    }
}

/// Whether anything follows the word `Bearer` in any Authorization header.
fn presents_token(request: &impl HttpMessage) -> bool {
    request.headers().get_all(AUTHORIZATION).any(|header| {
        let mut words = header.as_bytes().trim_ascii().split(u8::is_ascii_whitespace);
        let bearer =
            words.next().is_some_and(|scheme| scheme.eq_ignore_ascii_case(CHALLENGE.as_bytes()));
        bearer && words.next().is_some()
    })
}
