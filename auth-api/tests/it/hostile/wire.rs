//! HTTP as bytes on a socket, for requests that honest clients never send.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};

use serde_json::Value;
use testkit::{AuthApi, HANG};

/// One of the responses on a connection.
#[derive(Debug)]
pub(crate) struct WireAnswer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl WireAnswer {
    /// Returns the body as JSON, or null if it is not JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or(Value::Null)
    }

    /// Returns the `code` of a problem document. It is empty for responses of the HTTP layer, which
    /// have no body.
    pub(crate) fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }
}

/// Returns a POST request with a JSON body and its length. Each of the `headers` ends in CRLF.
pub(crate) fn post(target: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST {target} HTTP/1.1\r\n{headers}Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
}

/// Sends bytes on a new connection, closes the sending half, and returns all responses until the
/// server closes the connection.
pub(crate) fn talk(api: &AuthApi, bytes: &[u8]) -> Vec<WireAnswer> {
    let mut socket = TcpStream::connect(api.url.trim_start_matches("http://")).unwrap();
    socket.set_read_timeout(Some(HANG)).unwrap();
    // The server may respond and close the connection before it has read everything.
    let _ = socket.write_all(bytes);
    let _ = socket.shutdown(Shutdown::Write);
    let mut answered = Vec::new();
    let mut buffer = [0; 16 * 1024];
    loop {
        match socket.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => answered.extend_from_slice(&buffer[..length]),
            // The server closed the connection while bytes were in flight. The responses so far
            // count.
            Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
            Err(error) => panic!("{error} after {:?}", String::from_utf8_lossy(&answered)),
        }
    }
    answers(&String::from_utf8(answered).unwrap())
}

/// Splits a stream of responses by their lengths. Every response of auth-api has a length or no
/// body.
fn answers(mut stream: &str) -> Vec<WireAnswer> {
    let mut answers = Vec::new();
    while let Some((head, rest)) = stream.split_once("\r\n\r\n") {
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.unwrap_or_else(|| panic!("no status line: {head:?}"));
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
        });
        let (body, after) = rest.split_at(length.unwrap_or(0));
        // 100 Continue is not a final response.
        if status != 100 {
            answers.push(WireAnswer { status, head: head.to_owned(), body: body.to_owned() });
        }
        stream = after;
    }
    assert!(stream.is_empty(), "incomplete response: {stream:?}");
    answers
}
