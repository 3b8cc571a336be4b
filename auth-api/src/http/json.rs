use std::future::Future;
use std::pin::Pin;

use actix_web::dev::Payload;
use actix_web::web::Bytes;
use actix_web::{FromRequest, HttpRequest};
use serde::de::DeserializeOwned;

use super::Problem;
use super::body::Body;

/// A JSON body, read strictly: the right content type, at most `MAX_BODY_SIZE`, no unknown and no
/// repeated field; what is wrong is told with the field's name.
#[derive(Debug)]
pub struct Json<T>(pub T);

const JSON: &str = "application/json";

/// Longer than any field of ours: of an unknown one this much is repeated.
const LONGEST_NAME: usize = 32;

impl<T: DeserializeOwned + 'static> FromRequest for Json<T> {
    type Error = Problem;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Problem>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let body = Body::of(request, payload, JSON);
        Box::pin(async move {
            if !body.as_wanted {
                return Err(Problem::UnsupportedMediaType);
            }
            parse(&body.read().await?).map(Self)
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
        let body = Body::of(request, payload, JSON);
        Box::pin(async move {
            let as_wanted = body.as_wanted;
            let bytes = body.read().await?;
            if bytes.is_empty() {
                return Ok(Self(None));
            }
            if !as_wanted {
                return Err(Problem::UnsupportedMediaType);
            }
            parse(&bytes).map(|value| Self(Some(value)))
        })
    }
}

fn parse<T: DeserializeOwned>(body: &Bytes) -> Result<T, Problem> {
    // serde would take an array for a struct, its fields in order.
    if body.trim_ascii_start().first().is_some_and(|first| *first != b'{') {
        return Err(Problem::Malformed {
            field: None,
            detail: "The body must be a JSON object.".into(),
        });
    }
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let (path, message) = (error.path().to_string(), error.inner().to_string());
        if error.inner().classify() != serde_json::error::Category::Data {
            return Problem::Malformed {
                field: None,
                detail: format!("Not JSON: {message}.").into(),
            };
        }
        let field = if path == "." {
            named_field(&message)
        } else {
            Some(path.chars().take(LONGEST_NAME).collect())
        };
        Problem::Malformed { field, detail: without_values(&message).into() }
    })?;
    deserializer.end().map_err(|_| Problem::Malformed {
        field: None,
        detail: "More follows the JSON object.".into(),
    })?;
    Ok(value)
}

/// The field that is told to be wrong, cut to a sensible length: an unknown one is of the client's
/// making.
///
/// serde says "missing field `x`", "unknown field `x`, …" and "duplicate field `x`" of the object,
/// not of the field.
pub(super) fn named_field(message: &str) -> Option<String> {
    let (what, rest) = message.split_once(" field `")?;
    let (name, _) = rest.split_once('`')?;
    matches!(what, "missing" | "unknown" | "duplicate")
        .then(|| name.chars().take(LONGEST_NAME).collect())
}

/// serde's messages repeat what was sent, which may be a secret in the wrong place: only what was
/// expected is told.
fn without_values(message: &str) -> String {
    let what = message.split(" field `").next().unwrap_or_default();
    match (what, message.rsplit_once("expected ")) {
        ("missing", _) => "It is missing.".into(),
        ("duplicate", _) => "It stands there twice.".into(),
        ("unknown", Some((_, expected))) => format!("There is no such field; expected {expected}."),
        (_, Some((_, expected))) => format!("Expected {expected}."),
        _ => "Not what is expected here.".into(),
    }
}
