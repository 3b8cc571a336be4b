//! A client of auth-api that prints its requests and the responses.

use std::time::Duration;

use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use testkit::Wallet;

use crate::page::{pretty, redacted, shortened};
use crate::{Result, env};

/// A client of auth-api.
pub(crate) struct Api {
    url: String,
    ops: String,
    http: Client,
}

/// A response of auth-api.
pub(crate) struct Answer {
    request: String,
    status: StatusCode,
    body: Value,
}

impl Api {
    pub(crate) fn from_env() -> Result<Self> {
        let http = Client::builder().timeout(Duration::from_secs(10)).build()?;
        Ok(Self { url: env("AUTH_API_URL")?, ops: env("AUTH_API_OPS_URL")?, http })
    }

    pub(crate) async fn get(&self, path: &str, token: &str) -> Result<Answer> {
        println!("\n   > GET {path}    Authorization: Bearer {}", shortened(token));
        self.send(Method::GET, path, |request| request.bearer_auth(token)).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Result<Answer> {
        println!("\n   > POST {path} {}", pretty(&redacted(&body), 11 + path.len()));
        self.post_silently(path, body).await
    }

    /// Sends a POST request like `post`, but does not print it.
    async fn post_silently(&self, path: &str, body: Value) -> Result<Answer> {
        self.send(Method::POST, path, |request| request.json(&body)).await
    }

    pub(crate) async fn log_in_silently(&self, wallet: &Wallet) -> Result<Answer> {
        let challenge = self
            .post_silently("/auth/challenge", json!({"address": wallet.address()}))
            .await?
            .want(200)?;
        let message = challenge.string("message")?;
        let login = json!({"message": message, "signature": wallet.sign(message)});
        self.post_silently("/auth/login", login).await?.want(200)
    }

    pub(crate) async fn refresh(&self, tokens: &Answer) -> Result<Answer> {
        self.post("/auth/refresh", json!({"refresh_token": tokens.string("refresh_token")?})).await
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        with: impl FnOnce(RequestBuilder) -> RequestBuilder,
    ) -> Result<Answer> {
        let request = format!("{method} {path}");
        let response =
            with(self.http.request(method, format!("{}{path}", self.url))).send().await?;
        let status = response.status();
        Ok(Answer { request, status, body: response.json().await? })
    }

    /// Prints a few of the metrics that Prometheus scrapes.
    pub(crate) async fn show_metrics(&self) -> Result {
        const SHOWN: [&str; 6] = [
            "auth_api_logins_total{outcome=\"success\"}",
            "auth_api_refreshes_total{outcome=\"success\"}",
            "auth_api_refreshes_total{outcome=\"retry\"}",
            "auth_api_refreshes_total{outcome=\"reuse\"}",
            "auth_api_sessions_revoked_total{reason=\"reuse\"}",
            "auth_api_denylist_lookup_duration_seconds_count{source=\"redis\"}",
        ];
        println!("\n   > GET {}/metrics", self.ops);
        let metrics = self.http.get(format!("{}/metrics", self.ops)).send().await?.text().await?;
        for wanted in SHOWN {
            let line = metrics.lines().find(|line| line.starts_with(wanted));
            println!(
                "         {}",
                line.ok_or_else(|| format!("the metrics do not contain {wanted}"))?
            );
        }
        Ok(())
    }
}

impl Answer {
    pub(crate) fn show(self) -> Self {
        println!("   < {} {}", self.status.as_u16(), pretty(&redacted(&self.body), 9));
        self
    }

    /// Prints only these fields, on one line.
    pub(crate) fn show_fields(self, fields: &[&str]) -> Self {
        let body = redacted(&self.body);
        let mut shown: Vec<_> =
            fields.iter().map(|name| format!("{}:{}", json!(name), body[name])).collect();
        if body.as_object().is_some_and(|body| body.len() > fields.len()) {
            shown.push("…".into());
        }
        println!("   < {} {{{}}}", self.status.as_u16(), shown.join(","));
        self
    }

    /// Returns an error, which ends the tour, unless the response has this status.
    pub(crate) fn want(self, status: u16) -> Result<Self> {
        if self.status.as_u16() == status {
            return Ok(self);
        }
        let (request, body) = (self.request, redacted(&self.body));
        Err(format!("{request} returned {} instead of {status}: {body}", self.status).into())
    }

    pub(crate) fn string(&self, field: &str) -> Result<&str> {
        self.body[field]
            .as_str()
            .ok_or_else(|| format!("the response to {} has no {field}", self.request).into())
    }
}
