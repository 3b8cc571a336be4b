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

/// The body of a request to introspect or to revoke a token (RFC 7662 §2.1, RFC 7009 §2.1). A
/// parameter without a value counts as left out, one that is not known is ignored, and none may
/// stand there twice (RFC 6749 §3.2).
#[derive(Debug)]
pub struct Form {
    /// `token`. What `token_type_hint` says of it is not needed: a token shows of what kind it is.
    pub token: SecretString,
}

/// A token that is asked about or is to end.
#[derive(ToSchema)]
#[schema(as = TokenForm)]
#[expect(dead_code, reason = "for the contract alone")]
pub struct FormFields {
    /// An access token, a refresh token, or the session token that stands in a cookie.
    #[schema(min_length = 1, examples(json!(example::REFRESH_TOKEN)))]
    token: String,
    /// Of what kind it is. Not needed: a token shows it.
    #[schema(value_type = String, required = false, examples("refresh_token"))]
    token_type_hint: Option<String>,
    /// Others are ignored, as long as none stands there twice.
    #[serde(flatten)]
    others: BTreeMap<String, String>,
}

impl FromRequest for Form {
    type Error = OAuthError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, OAuthError>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let body = Body::of(request, payload, FORM);
        Box::pin(async move {
            if !body.as_wanted {
                return Err(invalid(
                    "The body must be a form: Content-Type: application/x-www-form-urlencoded, in UTF-8.",
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
            return Err(invalid("A parameter stands there twice."));
        }
        if name == "token" && !value.is_empty() {
            token = Some(value.into_owned().into());
        }
        seen.push(name);
        if seen.len() > MOST_PARAMETERS {
            return Err(invalid("There are too many parameters."));
        }
    }
    token.map(|token| Form { token }).ok_or_else(|| invalid("The parameter token is missing."))
}

/// There are four in the standards; more than a handful is not meant well.
const MOST_PARAMETERS: usize = 32;

fn invalid(what: &'static str) -> OAuthError {
    OAuthError::InvalidRequest(what)
}
