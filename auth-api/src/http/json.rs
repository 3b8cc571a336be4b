use std::future::Future;
use std::pin::Pin;

use actix_web::dev::Payload;
use actix_web::web::Bytes;
use actix_web::{FromRequest, HttpRequest};
use serde::de::DeserializeOwned;

use super::Problem;
use super::body::Body;

/// A JSON body, parsed strictly: it must have the right content type, be at most `MAX_BODY_SIZE`
/// long, and contain no unknown or repeated fields. Errors name the field.
#[derive(Debug)]
pub struct Json<T>(pub T);

const JSON: &str = "application/json";

/// The maximum number of characters of a field name in an error. The limit is longer than any field
/// name of this API.
const LONGEST_NAME: usize = 32;

impl<T: DeserializeOwned + 'static> FromRequest for Json<T> {
    type Error = Problem;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Problem>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let body = Body::of(request, payload, JSON);
        Box::pin(async move {
            if !body.has_expected_type {
                return Err(Problem::UnsupportedMediaType);
            }
            parse(&body.read().await?).map(Self)
        })
    }
}

/// A [`Json`] body that may be absent.
#[derive(Debug)]
pub struct OptionalJson<T>(pub Option<T>);

impl<T: DeserializeOwned + 'static> FromRequest for OptionalJson<T> {
    type Error = Problem;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Problem>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let body = Body::of(request, payload, JSON);
        Box::pin(async move {
            let has_expected_type = body.has_expected_type;
            let bytes = body.read().await?;
            if bytes.is_empty() {
                return Ok(Self(None));
            }
            if !has_expected_type {
                return Err(Problem::UnsupportedMediaType);
            }
            parse(&bytes).map(|value| Self(Some(value)))
        })
    }
}

fn parse<T: DeserializeOwned>(body: &Bytes) -> Result<T, Problem> {
    // serde would also accept an array that contains the fields in order.
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
                detail: format!("The body is not valid JSON: {message}.").into(),
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
        detail: "The body must end after the JSON object.".into(),
    })?;
    Ok(value)
}

/// Returns the field that an error message of serde names. The name is truncated, because the
/// client chooses the name of an unknown field.
///
/// serde reports "missing field `x`", "unknown field `x`, …", and "duplicate field `x`" as errors
/// of the object, not of the field.
pub(super) fn named_field(message: &str) -> Option<String> {
    let (what, rest) = message.split_once(" field `")?;
    let (name, _) = rest.split_once('`')?;
    matches!(what, "missing" | "unknown" | "duplicate")
        .then(|| name.chars().take(LONGEST_NAME).collect())
}

/// Returns the part of a serde message that describes what was expected. The rest of the message
/// repeats the value that the client sent, which may be a secret in the wrong field.
fn without_values(message: &str) -> String {
    let what = message.split(" field `").next().unwrap_or_default();
    match (what, message.rsplit_once("expected ")) {
        ("missing", _) => "This field is missing.".into(),
        ("duplicate", _) => "This field is repeated.".into(),
        ("unknown", Some((_, expected))) => format!("Unknown field; expected {expected}."),
        (_, Some((_, expected))) => format!("Expected {expected}."),
        _ => "This value is not valid.".into(),
    }
}
