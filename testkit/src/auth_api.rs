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

/// A running auth-api and a client of it.
pub struct AuthApi {
    /// The process.
    pub program: Program,
    /// `http://127.0.0.1:port`
    pub url: String,
    /// The operations port: `http://127.0.0.1:port`
    pub ops_url: String,
    /// The operators' port, if there are operators: `http://127.0.0.1:port`
    pub admin_url: Option<String>,
    /// What its keys in Redis begin with.
    pub redis_prefix: String,
    /// For requests that the methods here do not make.
    pub client: Client,
    keys: TempDir,
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, as JSON where it is JSON, else as a string.
    pub body: Value,
}

/// The tokens of an answer to login or refresh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tokens {
    /// A JWT.
    pub access: String,
    /// `rt_…`
    pub refresh: String,
    /// The session's id.
    pub session_id: String,
}

/// Another service that may introspect and revoke tokens, in a file of clients of its own.
pub struct Service {
    /// `INTROSPECTION_CLIENTS_FILE`
    pub file: PathBuf,
    /// Its id.
    pub id: &'static str,
    /// Its secret.
    pub secret: String,
    _directory: TempDir,
}

impl Service {
    /// A line of a file of clients as releases before BLAKE3 wrote it, for
    /// [`Self::ARGON2ID_SECRET`].
    pub const ARGON2ID: &str = "orders:$argon2id$v=19$m=19456,t=2,p=1$Df21ybdzrjUJA66CcRd5cA$NCnJ6XFZtyCWf17tMd5mioAS5JCgkc/WqT67GE9zCPo";
    /// Its secret.
    pub const ARGON2ID_SECRET: &str = "UEPikbQRGlraLDzDkpiQ1ot0zO7QpcwbOb88Jt3qZV4";

    /// One that an earlier release has added.
    #[must_use]
    pub fn of_an_earlier_release() -> Self {
        let directory = TempDir::new().unwrap();
        let file = directory.path().join("clients");
        fs::write(&file, Self::ARGON2ID).unwrap();
        Self { file, id: "orders", secret: Self::ARGON2ID_SECRET.to_owned(), _directory: directory }
    }

    /// Makes it, as an operator would.
    pub async fn add() -> Self {
        let directory = TempDir::new().unwrap();
        let file = directory.path().join("clients");
        let args =
            ["clients", "add", "orders", "--introspection-clients-file", file.to_str().unwrap()];
        let (code, made) = Program::run(binary("auth-api"), &args, &[]).await;
        assert_eq!(code, Some(0), "{}", made.stderr());
        Self { file, id: "orders", secret: made.stdout().trim().to_owned(), _directory: directory }
    }

    /// The variable that names it.
    #[must_use]
    pub fn env(&self) -> (&str, &str) {
        ("INTROSPECTION_CLIENTS_FILE", self.file.to_str().unwrap())
    }
}

impl AuthApi {
    /// `AUTH_SECRET` unless a test says otherwise.
    pub const SECRET: &str = "dGVzdCBzZWNyZXQgb25lLCAzMiBieXRlcyBsb25nLi4=";
    /// Another one.
    pub const OTHER_SECRET: &str = "dGVzdCBzZWNyZXQgdHdvLCAzMiBieXRlcyBsb25nLi4=";
    /// `PUBLIC_URL` unless a test says otherwise.
    pub const PUBLIC_URL: &str = "https://auth.example.test";

    /// Serves on free ports, on this database with the rights of its role, with the shared Redis
    /// under a prefix of its own. `overrides` are variables that are added or replaced.
    pub async fn start(database: &Database, overrides: &[(&str, &str)]) -> Self {
        let keys = TempDir::new().unwrap();
        let keys_path = keys.path().to_str().unwrap();
        let (code, made) =
            Program::run(binary("auth-api"), &["keys", "generate", "--dir", keys_path], &[]).await;
        assert_eq!(code, Some(0), "{}", made.stderr());
        Self::start_with_keys(database, keys, overrides).await
    }

    /// The same, with a directory of signing keys that is there already.
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
            // No machine is slow enough to reach these bounds. A test of a timeout sets its own.
            ("DATABASE_CHECKOUT_TIMEOUT", "1m"),
            ("DATABASE_STATEMENT_TIMEOUT", "90s"),
            ("REDIS_TIMEOUT", "10s"),
            ("HEAD_TIMEOUT", "1m"),
            ("BODY_TIMEOUT", "1m"),
            // A retry comes within it, and it is longer than the timeouts above allow an answer to
            // take. A test of what comes later moves the row's time.
            ("REFRESH_REUSE_GRACE", "5m"),
            // Tests ask more often in a minute than people do: a test of limits says which.
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
            // Redis is not required to be ready, but a test that wants it gone takes it away
            // itself.
            ready.is_ok_and(|answer| answer.status().is_success())
        })
        .await;
        api
    }

    /// A URL of the operators' port. Panics where there are no operators.
    #[must_use]
    pub fn admin(&self, path: &str) -> String {
        format!("{}{path}", self.admin_url.as_ref().expect("there are operators"))
    }

    /// Where its signing keys are.
    #[must_use]
    pub fn keys(&self) -> &Path {
        self.keys.path()
    }

    /// Has it read its files again, and waits until it has; what it said of those that it could not
    /// use.
    pub async fn reload(&self) -> Vec<String> {
        let done = "auth_api_config_last_reload_successful";
        let reads = || self.program.log_events("reload_completed").len();
        let (before, mistakes) = (reads(), self.reload_mistakes().len());
        self.program.signal("HUP");
        crate::eventually("the files are read again", async || reads() > before).await;
        let mistakes = self.reload_mistakes().split_off(mistakes);
        assert!(
            (self.metric(done).await - f64::from(u8::from(mistakes.is_empty()))).abs()
                < f64::EPSILON
        );
        mistakes
    }

    fn reload_mistakes(&self) -> Vec<String> {
        let events = self.program.log_events("reload_failed");
        events.iter().map(|event| event["mistake"].as_str().unwrap().to_owned()).collect()
    }

    /// What it says of a token to another service.
    pub async fn introspect(&self, service: &Service, token: &str) -> Answer {
        self.ask("/oauth/introspect", service, token).await
    }

    /// Another service ends the session of a token.
    pub async fn revoke(&self, service: &Service, token: &str) -> Answer {
        self.ask("/oauth/revoke", service, token).await
    }

    async fn ask(&self, path: &str, service: &Service, token: &str) -> Answer {
        let request = self
            .client
            .post(format!("{}{path}", self.url))
            .basic_auth(service.id, Some(&service.secret));
        self.send(request.form(&[("token", token)])).await
    }

    /// Its signing keys, for a replica.
    #[must_use]
    pub fn copy_of_keys(&self) -> TempDir {
        let copy = TempDir::new().unwrap();
        for entry in fs::read_dir(self.keys.path()).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
        }
        copy
    }

    /// The key with which it signs, as long as it has but one.
    #[must_use]
    pub fn signing_key(&self) -> SigningKey {
        let file = fs::read_dir(self.keys.path()).unwrap().next().unwrap().unwrap().path();
        SigningKey::from_pkcs8_pem(&fs::read_to_string(file).unwrap()).unwrap()
    }

    /// Sends a request and reads the answer.
    pub async fn send(&self, request: RequestBuilder) -> Answer {
        Answer::of(request.send().await.unwrap()).await
    }

    /// POSTs a JSON document.
    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(self.client.post(format!("{}{path}", self.url)).json(body)).await
    }

    /// A login from the beginning: a challenge for this wallet, signed by it.
    pub async fn try_login(&self, wallet: &Wallet) -> Answer {
        let message = self.challenge(wallet).await;
        self.submit(&message, &wallet.sign(&message)).await
    }

    /// The same, when it must succeed.
    pub async fn login(&self, wallet: &Wallet) -> Tokens {
        self.try_login(wallet).await.tokens()
    }

    /// A login that is carried by a cookie, over `old` ones if there are any, by a page of
    /// [`Self::PUBLIC_URL`].
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

    /// The same, when it must succeed: the cookie as a browser sends it back, `name=value`.
    pub async fn cookie_login(&self, wallet: &Wallet) -> String {
        self.try_cookie_login(wallet, None).await.cookie()
    }

    /// A request with a cookie, from a page of [`Self::PUBLIC_URL`].
    pub async fn with_cookie(&self, method: &str, path: &str, cookie: &str) -> Answer {
        let request = self.client.request(method.parse().unwrap(), format!("{}{path}", self.url));
        self.send(request.header("Cookie", cookie).header("Origin", Self::PUBLIC_URL)).await
    }

    /// A request with an access token.
    pub async fn with_token(&self, method: &str, path: &str, access_token: &str) -> Answer {
        let request = self.client.request(method.parse().unwrap(), format!("{}{path}", self.url));
        self.send(request.bearer_auth(access_token)).await
    }

    /// A challenge for this wallet.
    pub async fn challenge(&self, wallet: &Wallet) -> String {
        let answer = self.post("/auth/challenge", &json!({ "address": wallet.address() })).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.body["message"].as_str().unwrap().to_owned()
    }

    /// Submits a signed challenge.
    pub async fn submit(&self, message: &str, signature: &str) -> Answer {
        self.post("/auth/login", &json!({ "message": message, "signature": signature })).await
    }

    /// Refreshes.
    pub async fn refresh(&self, refresh_token: &str) -> Answer {
        self.post("/auth/refresh", &json!({ "refresh_token": refresh_token })).await
    }

    /// Refreshes with an `Idempotency-Key`.
    pub async fn refresh_as(&self, key: &str, refresh_token: &str) -> Answer {
        let request =
            self.client.post(format!("{}/auth/refresh", self.url)).header("Idempotency-Key", key);
        self.send(request.json(&json!({ "refresh_token": refresh_token }))).await
    }

    /// GET /auth/session with an access token.
    pub async fn session(&self, access_token: &str) -> Answer {
        self.send(self.client.get(format!("{}/auth/session", self.url)).bearer_auth(access_token))
            .await
    }

    /// The access token is refused, and it was the denylist that said so: not the look at the
    /// session itself that follows in this endpoint.
    pub async fn denies(&self, access_token: &str) {
        let denials = || self.program.log_events("revoked_session_rejected").len();
        let before = denials();
        self.session(access_token).await.is_problem(401, "unauthenticated");
        crate::eventually("the denylist has refused it", async || denials() > before).await;
    }

    /// Logs the session of an access token out.
    pub async fn logout(&self, access_token: &str) -> Answer {
        self.send(self.client.post(format!("{}/auth/logout", self.url)).bearer_auth(access_token))
            .await
    }

    /// The value of a metric's line that begins with `line` (name and labels), 0 when there is
    /// none.
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
    /// Reads an answer to its end.
    pub async fn of(response: reqwest::Response) -> Self {
        let (status, headers) = (response.status(), response.headers().clone());
        let text = response.text().await.unwrap();
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        Self { status, headers, body }
    }

    /// The tokens of a successful login or refresh.
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

    /// The cookie that it sets, as a browser sends it back.
    #[must_use]
    pub fn cookie(&self) -> String {
        assert_eq!(self.status, 200, "{self:?}");
        self.headers["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned()
    }

    /// Fails unless this is a problem document (RFC 9457) with this status and code.
    #[track_caller]
    pub fn is_problem(&self, status: u16, code: &str) {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.body["code"], code, "{self:?}");
        assert_eq!(self.body["status"], status, "{self:?}");
        assert_eq!(self.headers["content-type"], "application/problem+json", "{self:?}");
    }
}
