//! Requests to auth-api. Requests are limited in time and size, and do not follow redirects.

use std::error::Error as _;
use std::time::Duration;

use reqwest::header::{CACHE_CONTROL, CONTENT_TYPE};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, StatusCode};
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;
use url::form_urlencoded::{Serializer, byte_serialize};

/// The maximum size of a response, in bytes. It is sufficient for 400 keys of 160 bytes each. An
/// introspection response is smaller than 1 KB.
const MAX_BODY: usize = 64 * 1024;

/// An HTTP client for auth-api.
#[derive(Clone)]
pub(crate) struct Http(Client);

/// A response whose body has been read completely.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Vec<u8>,
    /// `max-age` in `Cache-Control` (RFC 9111 §5.2.2.1). Zero if the response must not be cached.
    /// `None` if the response does not specify how long it may be cached.
    pub(crate) max_age: Option<Duration>,
}

impl Http {
    /// Creates a client. `timeout` limits the time of a request, from the start of connecting to
    /// the last byte of the response. If the client cannot be created, returns the reason as text.
    pub(crate) fn new(timeout: Duration) -> Result<Self, String> {
        // A redirect could send credentials to another party, or make this service trust the keys
        // of that party.
        let client = Client::builder()
            .redirect(Policy::none())
            .connect_timeout(timeout)
            .timeout(timeout)
            .build();
        client.map(Self).map_err(|error| reason(&error))
    }

    pub(crate) async fn get(&self, url: &Url) -> Result<Answer, String> {
        read(self.0.get(url.clone()).send().await).await
    }

    /// Sends a form with one field in a POST request with client credentials (RFC 6749 §2.3.1).
    pub(crate) async fn post(
        &self,
        url: &Url,
        (name, value): (&str, &str),
        (id, secret): (&str, &SecretString),
    ) -> Result<Answer, String> {
        let form = Serializer::new(String::new()).append_pair(name, value).finish();
        // The id and the secret are form-encoded separately before they are joined.
        let encoded = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
        let request =
            self.0.post(url.clone()).basic_auth(encoded(id), Some(encoded(secret.expose_secret())));
        read(
            request
                .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
                .body(form)
                .send()
                .await,
        )
        .await
    }
}

async fn read(response: reqwest::Result<Response>) -> Result<Answer, String> {
    let mut response = response.map_err(|error| reason(&error))?;
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| reason(&error))? {
        if body.len() + chunk.len() > MAX_BODY {
            return Err(format!("a response of more than {MAX_BODY} bytes"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Answer { status: response.status(), max_age: max_age(&response), body })
}

fn max_age(response: &Response) -> Option<Duration> {
    let directives = response.headers().get(CACHE_CONTROL)?.to_str().ok()?.to_ascii_lowercase();
    let mut directives = directives.split(',').map(str::trim);
    directives.find_map(|directive| match directive.split_once('=') {
        Some(("max-age", seconds)) => {
            seconds.trim_matches('"').parse().ok().map(Duration::from_secs)
        }
        None if directive == "no-store" || directive == "no-cache" => Some(Duration::ZERO),
        _ => None,
    })
}

/// Formats an error with its causes. reqwest omits the causes when it formats an error.
fn reason(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
