//! A client that has one connection and asks one thing at a time, so that connections can be
//! counted and a time is one request's own.

use std::net::SocketAddr;

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap, HeaderName, SET_COOKIE};
use hyper::{Method, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use testkit::Wallet;
use tokio::net::TcpStream;

/// What is asked.
pub(super) type Request = hyper::Request<Full<Bytes>>;

/// A connection that is kept.
pub(super) struct Connection(SendRequest<Full<Bytes>>);

/// What came back.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
    headers: HeaderMap,
}

impl Connection {
    pub(super) async fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        // Ends with the sender; what goes wrong in it the sender tells.
        tokio::spawn(connection);
        Ok(Self(sender))
    }

    /// Asks, and reads the answer to its end.
    pub(super) async fn ask(&mut self, request: Request) -> Result<Answer> {
        self.0.ready().await?;
        let (parts, body) = self.0.send_request(request).await?.into_parts();
        Ok(Answer {
            status: parts.status,
            headers: parts.headers,
            body: body.collect().await?.to_bytes(),
        })
    }

    /// Asks, and has to get 200.
    pub(super) async fn ask_for(&mut self, request: Request) -> Result<Answer> {
        let asked = format!("{} {}", request.method(), request.uri());
        let answer = self.ask(request).await?;
        let body = String::from_utf8_lossy(&answer.body);
        ensure!(
            answer.status == StatusCode::OK,
            "{asked} was answered with {}: {body}",
            answer.status
        );
        Ok(answer)
    }

    /// A login from the beginning; what comes with it is of this transport, `token` or `cookie`.
    pub(super) async fn log_in(&mut self, wallet: &Wallet, transport: &str) -> Result<Answer> {
        let challenge =
            self.ask_for(post("/auth/challenge", &json!({ "address": wallet.address() }))?).await?;
        let message = challenge.string("message")?;
        let login = json!({ "message": message, "signature": wallet.sign(&message), "transport": transport });
        self.ask_for(post("/auth/login", &login)?).await
    }
}

impl Answer {
    /// A field of its body.
    pub(super) fn string(&self, field: &str) -> Result<String> {
        let body: Value = serde_json::from_slice(&self.body)?;
        Ok(body[field].as_str().with_context(|| format!("no {field} in {body}"))?.to_owned())
    }

    /// The cookie that it sets: `name=value`.
    pub(super) fn cookie(&self) -> Result<String> {
        let set = self.headers.get(SET_COOKIE).context("no cookie was set")?.to_str()?;
        Ok(set.split_once(';').map_or(set, |(cookie, _)| cookie).to_owned())
    }
}

/// A request with a header, for a resource.
pub(super) fn get(path: &str, header: Option<(HeaderName, &str)>) -> Result<Request> {
    let mut request = to(Method::GET, path);
    if let Some((name, value)) = header {
        request = request.header(name, value);
    }
    Ok(request.body(Full::default())?)
}

/// A request with a JSON document.
pub(super) fn post(path: &str, body: &Value) -> Result<Request> {
    let request = to(Method::POST, path).header(CONTENT_TYPE, "application/json");
    Ok(request.body(Full::from(body.to_string()))?)
}

/// A form from a client that shows its id and secret.
pub(super) fn form(
    path: &str,
    (id, secret): &(String, String),
    fields: &[(&str, &str)],
) -> Result<Request> {
    let basic = format!("Basic {}", STANDARD.encode(format!("{id}:{secret}")));
    // Tokens, ids and secrets are of characters that a form leaves as they are.
    let body =
        fields.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&");
    let request = to(Method::POST, path).header(CONTENT_TYPE, "application/x-www-form-urlencoded");
    Ok(request.header(AUTHORIZATION, basic).body(Full::from(body))?)
}

fn to(method: Method, path: &str) -> hyper::http::request::Builder {
    hyper::Request::builder().method(method).uri(path).header(HOST, "localhost")
}
