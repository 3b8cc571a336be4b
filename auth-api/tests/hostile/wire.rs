//! HTTP as bytes on a socket: what no honest client would send, and all that is answered.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};

use serde_json::Value;
use testkit::{AuthApi, HANG};

/// One of the answers that came back on a connection.
#[derive(Debug)]
pub(crate) struct WireAnswer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl WireAnswer {
    /// The body, null where it is not JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or(Value::Null)
    }

    /// The `code` of a problem document; empty for an answer of the HTTP layer's own, which has no
    /// body.
    pub(crate) fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }
}

/// A POST of a JSON body, with its length; `headers` end in CRLF each.
pub(crate) fn post(target: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST {target} HTTP/1.1\r\n{headers}Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
}

/// Sends these bytes on a connection of their own, says that no more will come, and returns all
/// that is answered until the server closes it.
pub(crate) fn talk(api: &AuthApi, bytes: &[u8]) -> Vec<WireAnswer> {
    let mut socket = TcpStream::connect(api.url.trim_start_matches("http://")).unwrap();
    socket.set_read_timeout(Some(HANG)).unwrap();
    // The server may have heard enough before the end.
    let _ = socket.write_all(bytes);
    let _ = socket.shutdown(Shutdown::Write);
    let mut answered = Vec::new();
    let mut buffer = [0; 16 * 1024];
    loop {
        match socket.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => answered.extend_from_slice(&buffer[..length]),
            // Closed while bytes of ours were on their way: what came before is what was answered.
            Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
            Err(error) => panic!("{error} after {:?}", String::from_utf8_lossy(&answered)),
        }
    }
    answers(&String::from_utf8(answered).unwrap())
}

/// Cuts a stream of answers at their lengths. All of ours have one, or no body.
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
        // "Go on" is no answer yet.
        if status != 100 {
            answers.push(WireAnswer { status, head: head.to_owned(), body: body.to_owned() });
        }
        stream = after;
    }
    assert!(stream.is_empty(), "half an answer: {stream:?}");
    answers
}
