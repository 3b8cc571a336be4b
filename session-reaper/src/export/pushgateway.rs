//! A push to a Prometheus Pushgateway.
//!
//! It is a POST, which replaces only metrics of the names that are in it (a PUT would replace all
//! of the group): a failed run leaves out when the last one succeeded, and what it did not measure,
//! so that both stay as they are.

use std::fmt;
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable as _};
use reqwest::header::CONTENT_TYPE;
use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode, Url};
use schema::connect::chain;

use super::exposition::Exposition;

/// Of all tries together. A run is over when this begins, and whoever waits for its end (a unit, a
/// pod) waits for this too; a Pushgateway stands near by and answers in milliseconds.
const WITHIN: Duration = Duration::from_secs(10);

/// Of one try: so that one that hangs leaves time for another.
const TRY_WITHIN: Duration = Duration::from_secs(4);

/// How often it is tried again, at first after this long, then after twice as long: a restart of
/// the Pushgateway is over by then.
const TRIES_AGAIN: usize = 3;
const STAND_BACK: Duration = Duration::from_millis(500);

/// Where to push to. The URL may carry a password.
#[derive(Clone)]
pub struct Pushgateway {
    url: Url,
}

impl fmt::Debug for Pushgateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pushgateway({})", self.shown())
    }
}

/// Why a push came to nothing.
enum Refused {
    /// Nobody answered.
    NoAnswer(reqwest::Error),
    /// Or with this, and these words.
    Answer(StatusCode, String),
}

impl Pushgateway {
    /// From the URL of the Pushgateway, in the group of the job `session_reaper` and this
    /// `instance`; or, where the URL has a group (`…/metrics/job/…`), in that.
    pub fn new(url: &str, instance: &str) -> Result<Self, String> {
        let mut url: Url = url.parse().map_err(|error| format!("not a URL ({error})"))?;
        if !["http", "https"].contains(&url.scheme()) {
            return Err("not http:// or https://".to_owned());
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err("a Pushgateway's URL has no ? and no #".to_owned());
        }
        if !url.path().contains("/metrics/job/")
            && let Ok(mut path) = url.path_segments_mut()
        {
            path.pop_if_empty().extend(["metrics", "job", "session_reaper", "instance", instance]);
        }
        Ok(Self { url })
    }

    /// Without what is nobody's business.
    pub(super) fn shown(&self) -> String {
        let mut url = self.url.clone();
        let _ = url.set_username("");
        let _ = url.set_password(None);
        url.into()
    }

    /// Pushes what was measured.
    pub(super) async fn push(&self, measured: &str) -> Result<(), String> {
        let body = Exposition::parse(measured).lasting().gauges().text();
        // It stands in one's own network: a proxy that the environment names for what is outside
        // would only see what is none of its business. And what answers with a redirect is
        // no Pushgateway.
        let client =
            Client::builder().no_proxy().redirect(Policy::none()).timeout(TRY_WITHIN).build();
        let client = client.map_err(|error| chain(&error))?;
        let backoff = ExponentialBuilder::default()
            .with_min_delay(STAND_BACK)
            .with_max_times(TRIES_AGAIN)
            .with_jitter();
        let pushing = (|| self.try_once(&client, &body)).retry(backoff).when(Refused::may_pass);
        match tokio::time::timeout(WITHIN, pushing).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(refused)) => Err(refused.to_string()),
            Err(_) => Err(format!("no answer within {WITHIN:?}")),
        }
    }

    async fn try_once(&self, client: &Client, body: &str) -> Result<(), Refused> {
        let request =
            client.post(self.url.clone()).header(CONTENT_TYPE, "text/plain; version=0.0.4");
        let answer = request
            .body(body.to_owned())
            .send()
            .await
            .map_err(|error| Refused::NoAnswer(error.without_url()))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(());
        }
        let words = answer.text().await.unwrap_or_default();
        Err(Refused::Answer(status, words.trim().chars().take(200).collect()))
    }
}

impl Refused {
    /// The same once more may come to something.
    fn may_pass(&self) -> bool {
        match self {
            Self::NoAnswer(_) => true,
            Self::Answer(status, _) => {
                status.is_server_error() || *status == StatusCode::TOO_MANY_REQUESTS
            }
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoAnswer(error) => f.write_str(&chain(error)),
            Self::Answer(status, words) if words.is_empty() => write!(f, "it answered {status}"),
            Self::Answer(status, words) => write!(f, "it answered {status}: {words}"),
        }
    }
}
