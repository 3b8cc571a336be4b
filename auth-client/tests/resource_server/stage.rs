use auth_client::{AuthClient, Builder};
use reqwest::{Client, RequestBuilder};
use testkit::{Answer, AuthApi, Program, example};

/// The example service, as a process.
pub(crate) struct Resource {
    pub(crate) program: Program,
    url: String,
    client: Client,
}

impl Resource {
    /// Starts the example service for the auth-api at this URL, with additional environment
    /// variables.
    pub(crate) async fn start(auth_url: &str, more: &[(&str, &str)]) -> Self {
        let issuer = AuthApi::PUBLIC_URL;
        let mut env = vec![
            ("AUTH_URL", auth_url),
            ("ISSUER", issuer),
            ("AUDIENCE", issuer),
            ("BIND", "127.0.0.1:0"),
        ];
        env.extend_from_slice(more);
        let mut program = Program::start(example("resource-server"), &[], &env);
        let listening = program.log_event("listening").await;
        let url = format!("http://{}", listening["address"].as_str().unwrap());
        Self { program, url, client: Client::new() }
    }

    /// Returns a request to `/me`, without a token.
    pub(crate) fn request(&self) -> RequestBuilder {
        self.client.get(format!("{}/me", self.url))
    }

    /// Returns a request to `/me` with a query, without a token.
    pub(crate) fn request_with_query(&self, query: &str) -> RequestBuilder {
        self.client.get(format!("{}/me?{query}", self.url))
    }

    /// Sends a request that requires a valid access token.
    pub(crate) async fn me(&self, token: &str) -> Answer {
        send(self.request().bearer_auth(token)).await
    }

    /// Sends a request that also requires a live session.
    pub(crate) async fn danger(&self, token: &str) -> Answer {
        send(self.client.delete(format!("{}/danger", self.url)).bearer_auth(token)).await
    }

    /// Sends a request that requires no token.
    pub(crate) async fn public(&self) -> Answer {
        send(self.client.get(format!("{}/public", self.url))).await
    }
}

pub(crate) async fn send(request: RequestBuilder) -> Answer {
    Answer::of(request.send().await.unwrap()).await
}

/// Returns a builder of the crate's client, for the auth-api at this URL.
pub(crate) fn client_of(auth_url: &str) -> Builder {
    AuthClient::builder(auth_url).issuer(AuthApi::PUBLIC_URL).audience(AuthApi::PUBLIC_URL)
}

/// Returns `true` if this is the response to a token that is not accepted.
pub(crate) fn is_refused(answer: &Answer) -> bool {
    answer.status == 401
        && answer
            .headers
            .get("www-authenticate")
            .is_some_and(|value| value == r#"Bearer error="invalid_token""#)
        && answer.body["code"] == "unauthenticated"
}

/// Returns `true` if this response means that the validity of a token cannot be determined at the
/// moment.
pub(crate) fn is_unavailable(answer: &Answer) -> bool {
    answer.status == 503
        && answer.headers.contains_key("retry-after")
        && answer.body["code"] == "unavailable"
}

/// Returns the number of requests for keys that auth-api has received.
pub(crate) async fn fetches(api: &AuthApi) -> f64 {
    let line = r#"auth_api_http_request_duration_seconds_count{method="GET",route="/.well-known/jwks.json",status="200"}"#;
    api.metric(line).await
}
