use std::future::Future;
use std::pin::Pin;

use actix_web::dev::Payload;
use actix_web::http::header::CONTENT_ENCODING;
use actix_web::web::{self, Bytes};
use actix_web::{FromRequest, HttpMessage as _, HttpRequest};
use serde::de::DeserializeOwned;

use super::Problem;

/// A JSON body, read strictly: the right content type, at most [`MAX_BODY`], no unknown and no repeated field; what is
/// wrong is told with the field's name.
#[derive(Debug)]
pub struct Json<T>(pub T);

/// Ten times the largest body that makes sense.
const MAX_BODY: usize = 16 * 1024;

impl<T: DeserializeOwned + 'static> FromRequest for Json<T> {
    type Error = Problem;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Problem>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let acceptable = is_plain_json(request);
        let payload = web::Payload::from_request(request, payload).into_inner();
        Box::pin(async move {
            if !acceptable {
                return Err(Problem::UnsupportedMediaType);
            }
            let payload = payload.map_err(|_| cut_short())?;
            let body = payload.to_bytes_limited(MAX_BODY).await.map_err(|_| Problem::TooLarge)?;
            parse(&body.map_err(|_| cut_short())?).map(Self)
        })
    }
}

/// The same where there may be no body at all.
#[derive(Debug)]
pub struct OptionalJson<T>(pub Option<T>);

impl<T: DeserializeOwned + 'static> FromRequest for OptionalJson<T> {
    type Error = Problem;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Problem>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let acceptable = is_plain_json(request);
        let payload = web::Payload::from_request(request, payload).into_inner();
        Box::pin(async move {
            let payload = payload.map_err(|_| cut_short())?;
            let body = payload.to_bytes_limited(MAX_BODY).await.map_err(|_| Problem::TooLarge)?;
            let body = body.map_err(|_| cut_short())?;
            if body.is_empty() {
                return Ok(Self(None));
            }
            if !acceptable {
                return Err(Problem::UnsupportedMediaType);
            }
            parse(&body).map(|value| Self(Some(value)))
        })
    }
}

fn cut_short() -> Problem {
    Problem::Malformed { field: None, detail: "The body ended early.".into() }
}

fn is_plain_json(request: &HttpRequest) -> bool {
    let plain = request.headers().get(CONTENT_ENCODING).is_none_or(|encoding| encoding == "identity");
    let json = request.mime_type().ok().flatten().is_some_and(|mime| {
        mime.essence_str() == "application/json" && mime.get_param("charset").is_none_or(|charset| charset == "utf-8")
    });
    plain && json
}

fn parse<T: DeserializeOwned>(body: &Bytes) -> Result<T, Problem> {
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let (path, message) = (error.path().to_string(), error.inner().to_string());
        if error.inner().classify() != serde_json::error::Category::Data {
            return Problem::Malformed { field: None, detail: format!("Not JSON: {message}.").into() };
        }
        let field = if path == "." { named_field(&message) } else { Some(path) };
        Problem::Malformed { field, detail: without_values(&message).into() }
    })?;
    deserializer
        .end()
        .map_err(|_| Problem::Malformed { field: None, detail: "More follows the JSON object.".into() })?;
    Ok(value)
}

/// serde says "missing field `x`", "unknown field `x`, …" and "duplicate field `x`" of the object, not of the field.
fn named_field(message: &str) -> Option<String> {
    let (what, rest) = message.split_once(" field `")?;
    let (name, _) = rest.split_once('`')?;
    matches!(what, "missing" | "unknown" | "duplicate").then(|| name.chars().take(64).collect())
}

/// serde's "invalid type: string \"…\", expected …" repeats what was sent, which may be a secret in the wrong place.
fn without_values(message: &str) -> String {
    match message.split_once("expected ") {
        Some((_, expected)) if message.starts_with("invalid") => format!("Expected {expected}."),
        _ => format!("{message}."),
    }
}
