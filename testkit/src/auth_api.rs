use std::fs;
use std::path::{Path, PathBuf};

use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::DecodePrivateKey as _;
use reqwest::header::HeaderMap;
use reqwest::{Client, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;
use uuid::Uuid;

use crate::{Database, HANG, Program, Redis, Wallet, binary};

/// A running auth-api process with an HTTP client.
pub struct AuthApi {
    /// The auth-api process.
    pub program: Program,
    /// Base URL of the API: `http://127.0.0.1:port`
    pub url: String,
    /// Base URL of the operations port: `http://127.0.0.1:port`
    pub ops_url: String,
    /// Base URL of the operators' port, if operators are configured: `http://127.0.0.1:port`
    pub admin_url: Option<String>,
    /// Prefix of the Redis keys of this auth-api.
    pub redis_prefix: String,
    /// HTTP client for requests that no method of this type sends.
    pub client: Client,
    keys: TempDir,
}

/// A response whose body has been read completely.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Status code.
    pub status: StatusCode,
    /// Response headers.
    pub headers: HeaderMap,
    /// Body: JSON if it parses as JSON, otherwise a string.
    pub body: Value,
}

/// The tokens from the response to a login or refresh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tokens {
    /// Access token, a JWT.
    pub access: String,
    /// Refresh token, `rt_…`.
    pub refresh: String,
    /// Session ID.
    pub session_id: String,
}

/// A service that may introspect and revoke tokens. It is the only client in its client file.
pub struct Service {
    /// Path of the client file, for `INTROSPECTION_CLIENTS_FILE`.
    pub file: PathBuf,
    /// Client ID.
    pub id: &'static str,
    /// Client secret.
    pub secret: String,
    _directory: TempDir,
}

impl Service {
    /// A line of a client file as earlier releases wrote it, with an argon2id hash. The secret is
    /// [`Self::ARGON2ID_SECRET`].
    pub const ARGON2ID: &str = "orders:$argon2id$v=19$m=19456,t=2,p=1$Df21ybdzrjUJA66CcRd5cA$NCnJ6XFZtyCWf17tMd5mioAS5JCgkc/WqT67GE9zCPo";
    /// The secret whose hash is in [`Self::ARGON2ID`].
    pub const ARGON2ID_SECRET: &str = "UEPikbQRGlraLDzDkpiQ1ot0zO7QpcwbOb88Jt3qZV4";

    /// Creates a service whose client file was written by an earlier release.
    #[must_use]
    pub fn of_an_earlier_release() -> Self {
        let directory = TempDir::new().unwrap();
        let file = directory.path().join("clients");
        fs::write(&file, Self::ARGON2ID).unwrap();
        Self { file, id: "orders", secret: Self::ARGON2ID_SECRET.to_owned(), _directory: directory }
    }

    /// Adds a client with `auth-api clients add`, as an operator does.
    pub async fn add() -> Self {
        let directory = TempDir::new().unwrap();
        let file = directory.path().join("clients");
        let args =
            ["clients", "add", "orders", "--introspection-clients-file", file.to_str().unwrap()];
        let (code, made) = Program::run(binary("auth-api"), &args, &[]).await;
        assert_eq!(code, Some(0), "{}", made.stderr());
        Self { file, id: "orders", secret: made.stdout().trim().to_owned(), _directory: directory }
    }

    /// Returns the environment variable that contains the path of the client file.
    #[must_use]
    pub fn env(&self) -> (&str, &str) {
        ("INTROSPECTION_CLIENTS_FILE", self.file.to_str().unwrap())
    }
}

impl AuthApi {
    /// The `AUTH_SECRET` of auth-api, unless a test overrides it.
    pub const SECRET: &str = "dGVzdCBzZWNyZXQgb25lLCAzMiBieXRlcyBsb25nLi4=";
    /// A different `AUTH_SECRET`.
    pub const OTHER_SECRET: &str = "dGVzdCBzZWNyZXQgdHdvLCAzMiBieXRlcyBsb25nLi4=";
    /// The `PUBLIC_URL` of auth-api, unless a test overrides it.
    pub const PUBLIC_URL: &str = "https://auth.example.test";

    /// Starts auth-api on free ports, with the privileges of its role in this database, and with
    /// its own key prefix in the shared Redis. `overrides` adds or replaces environment variables.
    pub async fn start(database: &Database, overrides: &[(&str, &str)]) -> Self {
        let keys = TempDir::new().unwrap();
        let keys_path = keys.path().to_str().unwrap();
        let (code, made) =
            Program::run(binary("auth-api"), &["keys", "generate", "--dir", keys_path], &[]).await;
        assert_eq!(code, Some(0), "{}", made.stderr());
        Self::start_with_keys(database, keys, overrides).await
    }

    /// Starts auth-api like [`Self::start`], with an existing directory of signing keys.
    pub async fn start_with_keys(
        database: &Database,
        keys: TempDir,
        overrides: &[(&str, &str)],
    ) -> Self {
        let (database_url, redis_url) = (database.url_as("auth_api"), Redis::shared_url());
        let prefix = format!("test-{}", Uuid::now_v7().simple());
        let mut env = vec![
            ("DATABASE_URL", database_url.as_str()),
            ("REDIS_URL", redis_url.as_str()),
            ("REDIS_PREFIX", prefix.as_str()),
            ("BIND", "127.0.0.1:0"),
            ("OPS_BIND", "127.0.0.1:0"),
            ("ADMIN_BIND", "127.0.0.1:0"),
            ("PUBLIC_URL", Self::PUBLIC_URL),
            ("STELLAR_NETWORK", "testnet"),
            ("AUTH_SECRET", Self::SECRET),
            ("SIGNING_KEYS_DIR", keys.path().to_str().unwrap()),
            // These timeouts are not reached even on a slow machine. A test that checks a timeout
            // sets a shorter one.
            ("DATABASE_CHECKOUT_TIMEOUT", "1m"),
            ("DATABASE_STATEMENT_TIMEOUT", "90s"),
            ("REDIS_TIMEOUT", "10s"),
            ("HEAD_TIMEOUT", "1m"),
            ("BODY_TIMEOUT", "1m"),
            // With the timeouts above, every response takes less time than the grace period, so
            // every retry falls within the grace period. To test a later retry, a test changes the
            // timestamps in the session's row.
            ("REFRESH_REUSE_GRACE", "5m"),
            // Tests send more requests per minute than users do. A test of rate limits sets its own
            // limits.
            ("RATE_LIMIT", "off"),
            ("LOG_FORMAT", "json"),
            ("RUST_LOG", "debug"),
        ];
        for (name, value) in overrides {
            env.retain(|(existing, _)| existing != name);
            env.push((name, value));
        }
        let redis_prefix = env
            .iter()
            .find(|(name, _)| *name == "REDIS_PREFIX")
            .map(|(_, value)| (*value).to_owned());
        let mut program = Program::start(binary("auth-api"), &["serve"], &env);
        let listening = program.log_event("listening").await;
        let url = |field: &str| format!("http://{}", listening[field].as_str().unwrap());
        let client = Client::builder().timeout(HANG).build().unwrap();
        let admin_url = listening["admin"].as_str().map(|address| format!("http://{address}"));
        let (url, ops_url) = (url("api"), url("ops"));
        let api = Self {
            program,
            url,
            ops_url,
            admin_url,
            redis_prefix: redis_prefix.unwrap(),
            client,
            keys,
        };
        crate::eventually("auth-api is ready", async || {
            let ready = api.client.get(format!("{}/readyz", api.ops_url)).send().await;
            // auth-api reports that it is ready even if Redis is unavailable. This is intended:
            // tests of an outage stop their own Redis.
            ready.is_ok_and(|answer| answer.status().is_success())
        })
        .await;
        api
    }

    /// Returns a URL on the operators' port. Panics if no operators are configured.
    #[must_use]
    pub fn admin(&self, path: &str) -> String {
        format!("{}{path}", self.admin_url.as_ref().expect("operators are configured"))
    }

    /// Returns the directory of the signing keys.
    #[must_use]
    pub fn keys(&self) -> &Path {
        self.keys.path()
    }

    /// Sends SIGHUP, waits until auth-api has reloaded its files, and returns an error for each
    /// file that it could not use.
    pub async fn reload(&self) -> Vec<String> {
        let successful = "auth_api_config_last_reload_successful";
        let reads = || self.program.log_events("reload_completed").len();
        let (before, errors) = (reads(), self.reload_errors().len());
        self.program.signal("HUP");
        crate::eventually("the files have been reloaded", async || reads() > before).await;
        let errors = self.reload_errors().split_off(errors);
        assert!(
            (self.metric(successful).await - f64::from(u8::from(errors.is_empty()))).abs()
                < f64::EPSILON
        );
        errors
    }

    fn reload_errors(&self) -> Vec<String> {
        let events = self.program.log_events("reload_failed");
        events.iter().map(|event| event["mistake"].as_str().unwrap().to_owned()).collect()
    }

    /// Introspects a token as another service (RFC 7662).
    pub async fn introspect(&self, service: &Service, token: &str) -> Answer {
        self.send_as("/oauth/introspect", service, token).await
    }

    /// Revokes the session of a token as another service (RFC 7009).
    pub async fn revoke(&self, service: &Service, token: &str) -> Answer {
        self.send_as("/oauth/revoke", service, token).await
    }

    async fn send_as(&self, path: &str, service: &Service, token: &str) -> Answer {
        let request = self
            .client
            .post(format!("{}{path}", self.url))
            .basic_auth(service.id, Some(&service.secret));
        self.send(request.form(&[("token", token)])).await
    }

    /// Copies the signing keys, for a second instance.
    #[must_use]
    pub fn copy_of_keys(&self) -> TempDir {
        let copy = TempDir::new().unwrap();
        for entry in fs::read_dir(self.keys.path()).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
        }
        copy
    }

    /// Returns the signing key. Requires that there is only one.
    #[must_use]
    pub fn signing_key(&self) -> SigningKey {
        let file = fs::read_dir(self.keys.path()).unwrap().next().unwrap().unwrap().path();
        SigningKey::from_pkcs8_pem(&fs::read_to_string(file).unwrap()).unwrap()
    }

    /// Sends a request and reads the response.
    pub async fn send(&self, request: RequestBuilder) -> Answer {
        Answer::of(request.send().await.unwrap()).await
    }

    /// Sends a POST request with a JSON body.
    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(self.client.post(format!("{}{path}", self.url)).json(body)).await
    }

    /// Logs in completely: requests a challenge for this wallet and submits the signed challenge.
    pub async fn try_login(&self, wallet: &Wallet) -> Answer {
        let message = self.challenge(wallet).await;
        self.submit(&message, &wallet.sign(&message)).await
    }

    /// Logs in like [`Self::try_login`]. Panics if the login fails.
    pub async fn login(&self, wallet: &Wallet) -> Tokens {
        self.try_login(wallet).await.tokens()
    }

    /// Logs in with the cookie transport, like a page at [`Self::PUBLIC_URL`]. `old` is the
    /// `Cookie` header to send, if the browser already has the cookie of a session.
    pub async fn try_cookie_login(&self, wallet: &Wallet, old: Option<&str>) -> Answer {
        let message = self.challenge(wallet).await;
        let body = json!({ "message": message, "signature": wallet.sign(&message), "transport": "cookie" });
        let mut request =
            self.client.post(format!("{}/auth/login", self.url)).header("Origin", Self::PUBLIC_URL);
        if let Some(old) = old {
            request = request.header("Cookie", old);
        }
        self.send(request.json(&body)).await
    }

    /// Logs in like [`Self::try_cookie_login`] and returns the cookie as `name=value`, the format
    /// in which a browser sends it back. Panics if the login fails.
    pub async fn cookie_login(&self, wallet: &Wallet) -> String {
        self.try_cookie_login(wallet, None).await.cookie()
    }

    /// Sends a request with a cookie, like a page at [`Self::PUBLIC_URL`].
    pub async fn with_cookie(&self, method: &str, path: &str, cookie: &str) -> Answer {
        let request = self.client.request(method.parse().unwrap(), format!("{}{path}", self.url));
        self.send(request.header("Cookie", cookie).header("Origin", Self::PUBLIC_URL)).await
    }

    /// Sends a request with an access token.
    pub async fn with_token(&self, method: &str, path: &str, access_token: &str) -> Answer {
        let request = self.client.request(method.parse().unwrap(), format!("{}{path}", self.url));
        self.send(request.bearer_auth(access_token)).await
    }

    /// Requests a challenge for this wallet and returns its message.
    pub async fn challenge(&self, wallet: &Wallet) -> String {
        let answer = self.post("/auth/challenge", &json!({ "address": wallet.address() })).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.body["message"].as_str().unwrap().to_owned()
    }

    /// Submits a signed challenge.
    pub async fn submit(&self, message: &str, signature: &str) -> Answer {
        self.post("/auth/login", &json!({ "message": message, "signature": signature })).await
    }

    /// Sends POST /auth/refresh.
    pub async fn refresh(&self, refresh_token: &str) -> Answer {
        self.post("/auth/refresh", &json!({ "refresh_token": refresh_token })).await
    }

    /// Sends POST /auth/refresh with an `Idempotency-Key`.
    pub async fn refresh_as(&self, key: &str, refresh_token: &str) -> Answer {
        let request =
            self.client.post(format!("{}/auth/refresh", self.url)).header("Idempotency-Key", key);
        self.send(request.json(&json!({ "refresh_token": refresh_token }))).await
    }

    /// Sends GET /auth/session with an access token.
    pub async fn session(&self, access_token: &str) -> Answer {
        self.send(self.client.get(format!("{}/auth/session", self.url)).bearer_auth(access_token))
            .await
    }

    /// Asserts that the denylist rejects the access token. The status alone does not prove this,
    /// because GET /auth/session also checks the session itself.
    pub async fn denies(&self, access_token: &str) {
        let denials = || self.program.log_events("revoked_session_rejected").len();
        let before = denials();
        self.session(access_token).await.is_problem(401, "unauthenticated");
        crate::eventually("the denylist rejects the token", async || denials() > before).await;
    }

    /// Logs out the session of an access token.
    pub async fn logout(&self, access_token: &str) -> Answer {
        self.send(self.client.post(format!("{}/auth/logout", self.url)).bearer_auth(access_token))
            .await
    }

    /// Returns the value of the metric line that begins with `line` (name and labels), or 0 if
    /// there is none.
    pub async fn metric(&self, line: &str) -> f64 {
        let text = self
            .client
            .get(format!("{}/metrics", self.ops_url))
            .send()
            .await
            .unwrap()
            .text()
            .await
            .unwrap();
        let found = text.lines().find_map(|found| found.strip_prefix(line)?.strip_prefix(' '));
        found.map_or(0.0, |value| value.parse().unwrap())
    }
}

impl Answer {
    /// Reads a response completely.
    pub async fn of(response: reqwest::Response) -> Self {
        let (status, headers) = (response.status(), response.headers().clone());
        let text = response.text().await.unwrap();
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        Self { status, headers, body }
    }

    /// Returns the tokens of a successful login or refresh.
    #[must_use]
    pub fn tokens(&self) -> Tokens {
        assert_eq!(self.status, 200, "{self:?}");
        let field = |name: &str| {
            self.body[name].as_str().unwrap_or_else(|| panic!("no {name}: {self:?}")).to_owned()
        };
        Tokens {
            access: field("access_token"),
            refresh: field("refresh_token"),
            session_id: field("session_id"),
        }
    }

    /// Returns the cookie that the response sets, in the format in which a browser sends it back.
    #[must_use]
    pub fn cookie(&self) -> String {
        assert_eq!(self.status, 200, "{self:?}");
        self.headers["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned()
    }

    /// Asserts that this is a problem document (RFC 9457) with this status and code.
    #[track_caller]
    pub fn is_problem(&self, status: u16, code: &str) {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.body["code"], code, "{self:?}");
        assert_eq!(self.body["status"], status, "{self:?}");
        assert_eq!(self.headers["content-type"], "application/problem+json", "{self:?}");
    }
}
