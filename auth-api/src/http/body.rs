use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::http::header::CONTENT_ENCODING;
use actix_web::web::{self, Bytes};
use actix_web::{FromRequest as _, HttpMessage as _, HttpRequest};

use super::Problem;
use crate::config::Bounds;
use crate::state::State;

/// A request body that has not been read yet.
pub(super) struct Body {
    /// Whether the body has the expected media type, is in UTF-8, and is not compressed.
    pub(super) has_expected_type: bool,
    payload: Result<web::Payload, actix_web::Error>,
    size: usize,
    timeout: Duration,
}

impl Body {
    /// Takes the body of `request`. `expected` is the media type that the body should have.
    pub(super) fn of(request: &HttpRequest, payload: &mut Payload, expected: &str) -> Self {
        let payload = web::Payload::from_request(request, payload).into_inner();
        let bounds = request
            .app_data::<web::Data<State>>()
            .map_or_else(Bounds::default, |state| state.bounds);
        Self {
            has_expected_type: is_plain(request, expected),
            payload,
            size: bounds.body_size,
            timeout: bounds.body_timeout,
        }
    }

    /// Reads the whole body. Returns [`Problem::TooLarge`] if the body exceeds the size limit, and
    /// [`Problem::BodyCutShort`] if the body is incomplete or exceeds the time limit.
    pub(super) async fn read(self) -> Result<Bytes, Problem> {
        let body = self.payload.map_err(|_| Problem::BodyCutShort)?.to_bytes_limited(self.size);
        let body =
            tokio::time::timeout(self.timeout, body).await.map_err(|_| Problem::BodyCutShort)?;
        body.map_err(|_| Problem::TooLarge)?.map_err(|_| Problem::BodyCutShort)
    }
}

fn is_plain(request: &HttpRequest, expected: &str) -> bool {
    let plain =
        request.headers().get(CONTENT_ENCODING).is_none_or(|encoding| encoding == "identity");
    let of_type = request.mime_type().ok().flatten().is_some_and(|mime| {
        mime.essence_str() == expected
            && mime.get_param("charset").is_none_or(|charset| charset == "utf-8")
    });
    plain && of_type
}
