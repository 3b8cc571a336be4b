//! Pushes metrics to a Prometheus Pushgateway.
//!
//! The request is a POST, which replaces only the metrics that it contains. (A PUT would replace
//! the whole group, which is all metrics with the same job and instance.) A failed run pushes
//! neither the time of the last success nor values that the run did not measure. The Pushgateway
//! keeps the earlier values of these metrics.

use std::fmt;
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable as _};
use pg::error_text::chain;
use reqwest::header::CONTENT_TYPE;
use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode, Url};

use super::exposition::Exposition;

/// Timeout for all attempts together. The attempts are made after the end of the run and delay the
/// end of the process. A nearby Pushgateway responds in milliseconds.
const WITHIN: Duration = Duration::from_secs(10);

/// The timeout for one attempt. If an attempt hangs, time is left for another one.
const ATTEMPT_WITHIN: Duration = Duration::from_secs(4);

/// The number of retries. The next constant is the delay before the first retry; the delay doubles
/// with each retry. Together, the delays are long enough for a restart of the Pushgateway.
const MAX_RETRIES: usize = 3;
const FIRST_DELAY: Duration = Duration::from_millis(500);

/// A Pushgateway. Its URL may contain a password.
#[derive(Clone)]
pub struct Pushgateway {
    url: Url,
}

impl fmt::Debug for Pushgateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pushgateway({})", self.shown())
    }
}

/// The reason for which an attempt failed.
enum Refused {
    /// The Pushgateway did not respond.
    NoAnswer(reqwest::Error),
    /// The Pushgateway responded with this status and body.
    Answer(StatusCode, String),
}

impl Pushgateway {
    /// Creates a destination from the URL of the Pushgateway. The grouping key of the metrics
    /// consists of the job `session_reaper` and this `instance`, unless the URL contains a grouping
    /// key (`…/metrics/job/…`).
    pub fn new(url: &str, instance: &str) -> Result<Self, String> {
        let mut url: Url = url.parse().map_err(|error| format!("not a URL ({error})"))?;
        if !["http", "https"].contains(&url.scheme()) {
            return Err("not http:// or https://".to_owned());
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err("the URL must have no ? and no #".to_owned());
        }
        if !url.path().contains("/metrics/job/")
            && let Ok(mut path) = url.path_segments_mut()
        {
            path.pop_if_empty().extend(["metrics", "job", "session_reaper", "instance", instance]);
        }
        Ok(Self { url })
    }

    /// Returns the URL without user and password.
    pub(super) fn shown(&self) -> String {
        let mut url = self.url.clone();
        let _ = url.set_username("");
        let _ = url.set_password(None);
        url.into()
    }

    /// Pushes the measured metrics.
    pub(super) async fn push(&self, measured: &str) -> Result<(), String> {
        let body = Exposition::parse(measured).lasting().gauges().text();
        // A Pushgateway is in the local network, so a proxy from the environment is not used. A
        // Pushgateway never redirects, so redirects are not followed.
        let client =
            Client::builder().no_proxy().redirect(Policy::none()).timeout(ATTEMPT_WITHIN).build();
        let client = client.map_err(|error| chain(&error))?;
        let backoff = ExponentialBuilder::default()
            .with_min_delay(FIRST_DELAY)
            .with_max_times(MAX_RETRIES)
            .with_jitter();
        let pushing = (|| self.try_once(&client, &body)).retry(backoff).when(Refused::is_transient);
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
        let body_text = answer.text().await.unwrap_or_default();
        Err(Refused::Answer(status, body_text.trim().chars().take(200).collect()))
    }
}

impl Refused {
    /// Returns whether a retry may succeed.
    fn is_transient(&self) -> bool {
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
            Self::Answer(status, body_text) if body_text.is_empty() => {
                write!(f, "the response status was {status}")
            }
            Self::Answer(status, body_text) => {
                write!(f, "the response status was {status}: {body_text}")
            }
        }
    }
}
