use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::error::QueryPayloadError;
use actix_web::{FromRequest, HttpRequest};
use serde::de::DeserializeOwned;

use super::Problem;
use super::json::named_field;

/// A query string, parsed as strictly as a body.
#[derive(Debug)]
pub struct Query<T>(pub T);

impl<T: DeserializeOwned + 'static> FromRequest for Query<T> {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _payload: &mut Payload) -> Self::Future {
        let read = actix_web::web::Query::<T>::from_query(request.query_string());
        ready(read.map(|query| Self(query.into_inner())).map_err(|error| Problem::Malformed {
            field: field_of(&error),
            detail: "The query string contains an unknown, repeated, or invalid parameter.".into(),
        }))
    }
}

/// Returns the name of the parameter that is missing, unknown, or repeated.
fn field_of(error: &QueryPayloadError) -> Option<String> {
    let QueryPayloadError::Deserialize(error) = error else { return None };
    named_field(&error.to_string())
}
