//! auth-api, as a client sees it: asks, and shows what was asked and what came back.

use std::time::Duration;

use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use testkit::Wallet;

use crate::page::{pretty, redacted, shortened};
use crate::{Result, env};

/// auth-api, as a client sees it.
pub(crate) struct Api {
    url: String,
    ops: String,
    http: Client,
}

/// What came back.
pub(crate) struct Answer {
    asked: String,
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
        self.post_unseen(path, body).await
    }

    /// What `post` does, without a word.
    async fn post_unseen(&self, path: &str, body: Value) -> Result<Answer> {
        self.send(Method::POST, path, |request| request.json(&body)).await
    }

    pub(crate) async fn log_in_unseen(&self, wallet: &Wallet) -> Result<Answer> {
        let asked = self
            .post_unseen("/auth/challenge", json!({"address": wallet.address()}))
            .await?
            .want(200)?;
        let message = asked.string("message")?;
        let login = json!({"message": message, "signature": wallet.sign(message)});
        self.post_unseen("/auth/login", login).await?.want(200)
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
        let asked = format!("{method} {path}");
        let response =
            with(self.http.request(method, format!("{}{path}", self.url))).send().await?;
        let status = response.status();
        Ok(Answer { asked, status, body: response.json().await? })
    }

    /// A few lines of what Prometheus would read.
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
                line.ok_or_else(|| format!("{wanted} should have been among the metrics"))?
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

    /// Shows these fields alone, on a line.
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

    /// Ends the tour if this is not the answer's status.
    pub(crate) fn want(self, status: u16) -> Result<Self> {
        if self.status.as_u16() == status {
            return Ok(self);
        }
        let (asked, body) = (self.asked, redacted(&self.body));
        Err(format!(
            "{asked} should have been answered with {status}, not with {}: {body}",
            self.status
        )
        .into())
    }

    pub(crate) fn string(&self, field: &str) -> Result<&str> {
        self.body[field]
            .as_str()
            .ok_or_else(|| format!("{} should have answered with {field}", self.asked).into())
    }
}
