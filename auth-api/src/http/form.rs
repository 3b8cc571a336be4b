use std::borrow::Cow;
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest};
use secrecy::SecretString;
use utoipa::ToSchema;

use super::Problem;
use super::api_spec::example;
use super::body::Body;
use super::oauth::OAuthError;

pub(super) const FORM: &str = "application/x-www-form-urlencoded";

/// The body of a request to introspect or revoke a token (RFC 7662 §2.1, RFC 7009 §2.1). A
/// parameter without a value counts as omitted, an unknown parameter is ignored, and no parameter
/// may be repeated (RFC 6749 §3.2).
#[derive(Debug)]
pub struct Form {
    /// The parameter `token`. `token_type_hint` is not needed: the token itself shows its type.
    pub token: SecretString,
}

/// A token to introspect or revoke.
#[derive(ToSchema)]
#[schema(as = TokenForm)]
#[expect(dead_code, reason = "only the API specification reads it")]
pub struct FormFields {
    /// An access token, a refresh token, or the session token from a cookie.
    #[schema(min_length = 1, examples(json!(example::REFRESH_TOKEN)))]
    token: String,
    /// The type of the token. Not needed: the token itself shows its type.
    #[schema(value_type = String, required = false, examples("refresh_token"))]
    token_type_hint: Option<String>,
    /// Other parameters are ignored, but no parameter may be repeated.
    #[serde(flatten)]
    others: BTreeMap<String, String>,
}

impl FromRequest for Form {
    type Error = OAuthError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, OAuthError>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let body = Body::of(request, payload, FORM);
        Box::pin(async move {
            if !body.has_expected_type {
                return Err(invalid(
                    "The body must be a form in UTF-8 (Content-Type: application/x-www-form-urlencoded).",
                ));
            }
            let bytes = body.read().await.map_err(|problem| match problem {
                Problem::BodyCutShort | Problem::TooLarge => OAuthError::Unread(problem),
                other => OAuthError::Other(other),
            })?;
            parse(&bytes)
        })
    }
}

fn parse(body: &[u8]) -> Result<Form, OAuthError> {
    let mut token: Option<SecretString> = None;
    let mut seen: Vec<Cow<'_, str>> = Vec::new();
    for (name, value) in url::form_urlencoded::parse(body) {
        if seen.contains(&name) {
            return Err(invalid("A parameter is repeated."));
        }
        if name == "token" && !value.is_empty() {
            token = Some(value.into_owned().into());
        }
        seen.push(name);
        if seen.len() > MOST_PARAMETERS {
            return Err(invalid("The form has too many parameters."));
        }
    }
    token.map(|token| Form { token }).ok_or_else(|| invalid("The parameter `token` is missing."))
}

/// The maximum number of parameters. The standards define four, so no legitimate form has many
/// more.
const MOST_PARAMETERS: usize = 32;

fn invalid(description: &'static str) -> OAuthError {
    OAuthError::InvalidRequest(description)
}
