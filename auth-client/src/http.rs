//! Requests to auth-api: bounded in time and in size, and never led elsewhere.

use std::error::Error as _;
use std::time::Duration;

use reqwest::header::{CACHE_CONTROL, CONTENT_TYPE};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, StatusCode};
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;
use url::form_urlencoded::{Serializer, byte_serialize};

/// A key is 160 bytes, so this is a set of 400; what is said of a token is less than 1 KB.
const MAX_BODY: usize = 64 * 1024;

/// A client of the one server that we ask.
#[derive(Clone)]
pub(crate) struct Http(Client);

/// An answer, read to its end.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Vec<u8>,
    /// `max-age` of `Cache-Control` (RFC 9111 §5.2.2.1); zero where it forbids to keep the answer.
    pub(crate) max_age: Option<Duration>,
}

impl Http {
    /// `timeout` bounds a request from the connection to the last byte of the answer. The error is
    /// the reason as text.
    pub(crate) fn new(timeout: Duration) -> Result<Self, String> {
        // A redirect would carry credentials, or our trust, to somebody else.
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

    /// POSTs a form with one field, as a client (RFC 6749 §2.3.1).
    pub(crate) async fn post(
        &self,
        url: &Url,
        (name, value): (&str, &str),
        (id, secret): (&str, &SecretString),
    ) -> Result<Answer, String> {
        let form = Serializer::new(String::new()).append_pair(name, value).finish();
        // Both are encoded as in a form before they are put together.
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
            return Err(format!("an answer of more than {MAX_BODY} bytes"));
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

/// With its causes: reqwest keeps them to itself.
fn reason(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
