//! A client with one connection that sends one request at a time, so that the number of connections
//! is known and each time belongs to one request.

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

/// A request.
pub(super) type Request = hyper::Request<Full<Bytes>>;

/// A persistent connection.
pub(super) struct Connection(SendRequest<Full<Bytes>>);

/// A response whose body has been read completely.
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
        // The task ends when the sender is dropped. The sender reports the errors of the
        // connection.
        tokio::spawn(connection);
        Ok(Self(sender))
    }

    /// Sends a request and reads the complete response.
    pub(super) async fn ask(&mut self, request: Request) -> Result<Answer> {
        self.0.ready().await?;
        let (parts, body) = self.0.send_request(request).await?.into_parts();
        Ok(Answer {
            status: parts.status,
            headers: parts.headers,
            body: body.collect().await?.to_bytes(),
        })
    }

    /// Sends a request and fails unless the response is 200.
    pub(super) async fn ask_for(&mut self, request: Request) -> Result<Answer> {
        let description = format!("{} {}", request.method(), request.uri());
        let answer = self.ask(request).await?;
        let body = String::from_utf8_lossy(&answer.body);
        ensure!(
            answer.status == StatusCode::OK,
            "{description} returned {}: {body}",
            answer.status
        );
        Ok(answer)
    }

    /// Performs a complete login with the given transport, `token` or `cookie`.
    pub(super) async fn log_in(&mut self, wallet: &Wallet, transport: &str) -> Result<Answer> {
        let challenge =
            self.ask_for(post("/auth/challenge", &json!({ "address": wallet.address() }))?).await?;
        let message = challenge.string("message")?;
        let login = json!({ "message": message, "signature": wallet.sign(&message), "transport": transport });
        self.ask_for(post("/auth/login", &login)?).await
    }
}

impl Answer {
    /// Returns a string field of the JSON body.
    pub(super) fn string(&self, field: &str) -> Result<String> {
        let body: Value = serde_json::from_slice(&self.body)?;
        Ok(body[field].as_str().with_context(|| format!("no {field} in {body}"))?.to_owned())
    }

    /// Returns the cookie that the response sets, as `name=value`.
    pub(super) fn cookie(&self) -> Result<String> {
        let set = self.headers.get(SET_COOKIE).context("the response sets no cookie")?.to_str()?;
        Ok(set.split_once(';').map_or(set, |(cookie, _)| cookie).to_owned())
    }
}

/// Returns a GET request with an optional header.
pub(super) fn get(path: &str, header: Option<(HeaderName, &str)>) -> Result<Request> {
    let mut request = to(Method::GET, path);
    if let Some((name, value)) = header {
        request = request.header(name, value);
    }
    Ok(request.body(Full::default())?)
}

/// Returns a POST request with a JSON body.
pub(super) fn post(path: &str, body: &Value) -> Result<Request> {
    let request = to(Method::POST, path).header(CONTENT_TYPE, "application/json");
    Ok(request.body(Full::from(body.to_string()))?)
}

/// Returns a POST request with a form, authenticated with the ID and secret of a client.
pub(super) fn form(
    path: &str,
    (id, secret): &(String, String),
    fields: &[(&str, &str)],
) -> Result<Request> {
    let basic = format!("Basic {}", STANDARD.encode(format!("{id}:{secret}")));
    // Tokens, IDs and secrets contain only characters that need no escaping in a form.
    let body =
        fields.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&");
    let request = to(Method::POST, path).header(CONTENT_TYPE, "application/x-www-form-urlencoded");
    Ok(request.header(AUTHORIZATION, basic).body(Full::from(body))?)
}

fn to(method: Method, path: &str) -> hyper::http::request::Builder {
    hyper::Request::builder().method(method).uri(path).header(HOST, "localhost")
}
