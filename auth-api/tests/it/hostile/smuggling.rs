//! Request smuggling: if two servers split a stream of bytes differently, a hidden request bypasses
//! the checks of the first server, or another client receives its response. Here, the hidden
//! request is always a valid login, which must not be answered.

use serde_json::json;
use testkit::{Database, Wallet};

use crate::hostile::framing::{CUT_SHORT, NOT_HTTP, NOT_JSON, is};
use crate::hostile::table::{Table, start};
use crate::hostile::wire::{post, talk};

/// A test case: its name, the bytes to send, the status and code of every response on the
/// connection, and the reason for the responses.
type Case = (String, String, Answers, &'static str);
/// The status and the code of each response.
type Answers = &'static [(u16, &'static str)];

const FRONT: &str =
    "POST /auth/challenge HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n";

fn case(name: &str, bytes: String, expected: Answers, why: &'static str) -> Case {
    (name.to_owned(), bytes, expected, why)
}

/// Returns requests with two lengths, or with a length and chunks. Servers disagree on which of
/// them counts (RFC 9112 §6.3).
fn ambiguous(login: &str) -> Vec<Case> {
    const ONE: &str = "the length must be given exactly once";
    const DIGITS: &str = "a length consists of digits (RFC 9110 §8.6)";
    const CHUNKED: &str = "the only accepted coding is chunked (RFC 9112 §6.1)";
    let hidden = format!("0\r\n\r\n{login}");
    let as_chunk = format!("{:x}\r\n{login}\r\n0\r\n\r\n", login.len());
    let (whole, of_login) = (hidden.len(), login.len());
    let front = |headers: &str, body: &str| format!("{FRONT}{headers}\r\n{body}");
    let length = |value: &str| front(&format!("Content-Length: {value}\r\n"), login);
    let coded = |value: &str| {
        front(&format!("Content-Length: {whole}\r\nTransfer-Encoding: {value}\r\n"), &hidden)
    };
    let only = |value: &str| front(&format!("Transfer-Encoding: {value}\r\n"), &hidden);
    let mut cases = vec![
        case("a length and chunks", coded("chunked"), NOT_HTTP, ONE),
        case(
            "chunks and a length",
            front(&format!("Transfer-Encoding: chunked\r\nContent-Length: {whole}\r\n"), &hidden),
            NOT_HTTP,
            ONE,
        ),
        case(
            "chunks, and a length that ends in the middle",
            front("Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", &as_chunk),
            NOT_HTTP,
            ONE,
        ),
        case(
            "chunks and a length of zero",
            front("Transfer-Encoding: chunked\r\nContent-Length: 0\r\n", &as_chunk),
            NOT_HTTP,
            ONE,
        ),
        case(
            "two lengths",
            front(&format!("Content-Length: 0\r\nContent-Length: {of_login}\r\n"), login),
            NOT_HTTP,
            ONE,
        ),
        case(
            "two lengths, the longer first",
            front(&format!("Content-Length: {of_login}\r\nContent-Length: 0\r\n"), login),
            NOT_HTTP,
            ONE,
        ),
        case(
            "a length twice",
            front(&format!("Content-Length: {of_login}\r\nContent-Length: {of_login}\r\n"), login),
            NOT_HTTP,
            ONE,
        ),
        case(
            "codings twice",
            front("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", &hidden),
            NOT_HTTP,
            ONE,
        ),
        case(
            "codings twice, the other unknown",
            front("Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n", &hidden),
            NOT_HTTP,
            ONE,
        ),
        case(
            "an HTTP/1.0 request with a length and chunks",
            coded("chunked").replacen("1.1", "1.0", 1),
            NOT_HTTP,
            "HTTP/1.0 has no chunks",
        ),
        case(
            "an HTTP/1.0 request in chunks",
            only("chunked").replacen("1.1", "1.0", 1),
            NOT_HTTP,
            "HTTP/1.0 has no chunks",
        ),
        case(
            "an HTTP/1.0 request without a length",
            front("", login).replacen("1.1", "1.0", 1),
            NOT_HTTP,
            "the body would end with the connection",
        ),
    ];
    for value in [
        "+0",
        "-1",
        "0x0",
        "0 0",
        "0_0",
        "0,0",
        "0, 9",
        "",
        "0;",
        "1e1",
        "٠",
        "99999999999999999999",
        "\"0\"",
    ] {
        cases.push(case(&format!("a length of {value:?}"), length(value), NOT_HTTP, DIGITS));
    }
    for value in [
        "xchunked",
        "chunkedx",
        "chunked, chunked",
        "chunked, identity",
        "identity, chunked",
        "gzip, chunked",
        "identity",
        "chunked;q=1",
        "\"chunked\"",
        "chunked\u{b}",
        "\u{b}chunked",
        "",
        ",chunked",
        "\u{212a}hunked",
    ] {
        cases.push(case(
            &format!("a coding of {value:?} and a length"),
            coded(value),
            NOT_HTTP,
            CHUNKED,
        ));
        cases.push(case(&format!("a coding of {value:?}"), only(value), NOT_HTTP, CHUNKED));
    }
    cases
}

/// Returns requests with codings and lengths that only some servers recognize.
fn disguised(login: &str) -> Vec<Case> {
    const NAME: &str = "the colon directly follows the name (RFC 9112 §5.1)";
    const FOLD: &str = "folding is obsolete (RFC 9112 §5.2)";
    const LINE: &str = "an ambiguous line ending closes the connection";
    let hidden = format!("0\r\n\r\n{login}");
    let with =
        |line: &str| format!("{FRONT}Content-Length: {}\r\n{line}\r\n{hidden}", hidden.len());
    vec![
        case("a space before the colon", with("Transfer-Encoding : chunked\r\n"), NOT_HTTP, NAME),
        case("a tab before the colon", with("Transfer-Encoding\t: chunked\r\n"), NOT_HTTP, NAME),
        case("a folded line", with("X: y\r\n Transfer-Encoding: chunked\r\n"), NOT_HTTP, FOLD),
        case("a folded value", with("Transfer-Encoding:\r\n chunked\r\n"), NOT_HTTP, FOLD),
        case(
            "a value folded by a tab",
            with("Transfer-Encoding: x,\r\n\tchunked\r\n"),
            NOT_HTTP,
            FOLD,
        ),
        case(
            "a folded length",
            format!("{FRONT}Content-Length:\r\n {}\r\n\r\n{login}", login.len()),
            NOT_HTTP,
            FOLD,
        ),
        case("a CR before the name", with("X: y\rTransfer-Encoding: chunked\r\n"), NOT_HTTP, LINE),
        case("a length after an LF", with("X: y\nContent-Length: 0\r\n"), NOT_HTTP, LINE),
        case("a coding after an LF", with("X: y\nTransfer-Encoding: chunked\r\n"), NOT_HTTP, LINE),
        case("a NUL in the name", with("Transfer-Encoding\0: chunked\r\n"), NOT_HTTP, NAME),
        case("quotes around the name", with("\"Transfer-Encoding\": chunked\r\n"), NOT_HTTP, NAME),
        case(
            "an underscore",
            with("Transfer_Encoding: chunked\r\n"),
            NOT_JSON,
            "this is another field, without a meaning",
        ),
        case(
            "an X- prefix",
            with("X-Transfer-Encoding: chunked\r\nX-Content-Length: 0\r\n"),
            NOT_JSON,
            "this is another field",
        ),
        case("a TE", with("TE: chunked\r\n"), NOT_JSON, "TE concerns the response"),
        case(
            "a length that Connection lists",
            with("Connection: close, Content-Length\r\n"),
            NOT_JSON,
            "the length counts nevertheless",
        ),
        case(
            "lines that end in LF",
            with("").replacen("\r\n", "\n", 5),
            NOT_JSON,
            "RFC 9112 §2.2 allows a bare LF, and the length counts",
        ),
    ]
}

/// Returns requests whose body is not read, because the request is rejected for its head or the
/// endpoint takes no body.
fn unread(login: &str) -> Vec<Case> {
    const BODY: &str = "a body is not a request, even if it is not read";
    let length = login.len();
    let chunk = format!("{length:x}\r\n{login}\r\n0\r\n\r\n");
    let mut cases = Vec::new();
    let refused: [(&str, &str, Answers); 8] = [
        ("POST /nothing", "", &[(404, "not_found")]),
        ("GET /auth/login", "", &[(405, "method_not_allowed")]),
        ("DELETE /auth/login", "", &[(405, "method_not_allowed")]),
        ("OPTIONS *", "", &[(404, "not_found")]),
        (
            "POST /auth/challenge",
            "Content-Type: text/plain\r\n",
            &[(415, "unsupported_media_type")],
        ),
        ("GET /auth/session", "", &[(401, "unauthenticated")]),
        ("GET /.well-known/jwks.json", "", &[(200, "")]),
        ("POST /auth/logout", "Content-Type: text/plain\r\n", &[(415, "unsupported_media_type")]),
    ];
    for (line, headers, expected) in refused {
        let head = format!("{line} HTTP/1.1\r\nHost: x\r\n{headers}");
        cases.push(case(
            &format!("{line} with a length"),
            format!("{head}Content-Length: {length}\r\n\r\n{login}"),
            expected,
            BODY,
        ));
        cases.push(case(
            &format!("{line} in chunks"),
            format!("{head}Transfer-Encoding: chunked\r\n\r\n{chunk}"),
            expected,
            BODY,
        ));
        let waits =
            format!("{head}Expect: 100-continue\r\nContent-Length: {length}\r\n\r\n{login}");
        cases.push(case(&format!("{line} with Expect: 100-continue"), waits, expected, BODY));
    }
    let beyond = format!("{}{login}", "G".repeat(17_000));
    let crumbs = "400\r\n".to_owned() + &"G".repeat(1024) + "\r\n";
    let too_large: &[(u16, &str)] = &[(413, "too_large")];
    cases.extend([
        case(
            "past the limit, with a length",
            format!("{FRONT}Content-Length: {}\r\n\r\n{beyond}", beyond.len()),
            too_large,
            BODY,
        ),
        case(
            "past the limit, in a chunk",
            format!("{FRONT}Transfer-Encoding: chunked\r\n\r\n{}{chunk}", crumbs.repeat(20)),
            too_large,
            BODY,
        ),
        case(
            "a body that is not JSON",
            format!("{FRONT}Content-Length: {length}\r\n\r\n{login}"),
            NOT_JSON,
            BODY,
        ),
        case(
            "a chunk that is not JSON",
            format!("{FRONT}Transfer-Encoding: chunked\r\n\r\n{chunk}"),
            NOT_JSON,
            BODY,
        ),
        case(
            "an invalid chunk, and a login",
            format!("{FRONT}Transfer-Encoding: chunked\r\n\r\nx\r\n{login}"),
            CUT_SHORT,
            "nothing after the error is a request",
        ),
        case(
            "trailers",
            format!("{FRONT}Transfer-Encoding: chunked\r\n\r\n0\r\nX: y\n{login}"),
            &[(400, "malformed"), (400, "")],
            "the bytes up to the empty line are trailers",
        ),
    ]);
    cases
}

/// Returns requests to switch to another protocol.
fn switched(login: &str) -> Vec<Case> {
    const REST: &str = "no other protocol is supported, so the rest is not a request";
    let with =
        |line: &str, headers: &str| format!("{line} HTTP/1.1\r\nHost: x\r\n{headers}\r\n{login}");
    vec![
        case(
            "a websocket",
            with("GET /auth/session", "Connection: Upgrade\r\nUpgrade: websocket\r\n"),
            &[(401, "unauthenticated")],
            REST,
        ),
        case(
            "a websocket on an unknown path",
            with("GET /nothing", "Connection: Upgrade\r\nUpgrade: websocket\r\n"),
            &[(404, "not_found")],
            REST,
        ),
        case("a tunnel", with("CONNECT x:80", ""), &[(404, "not_found")], REST),
    ]
}

#[tokio::test]
async fn smuggled_request_is_never_answered() {
    let database = Database::create().await;
    let api = start(&database).await;
    let wallet = Wallet::generate();
    let message = api.challenge(&wallet).await;
    let body = json!({ "message": message, "signature": wallet.sign(&message) }).to_string();
    let login = post("/auth/login", "Host: x\r\n", &body);

    let mut table = Table::default();
    for (name, bytes, expected, why) in
        [ambiguous(&login), disguised(&login), unread(&login), switched(&login)].concat()
    {
        let answers = talk(&api, bytes.as_bytes());
        table.holds(&name, &format!("{expected:?}: {why}"), is(&answers, expected), &answers);
    }
    table.end();
    assert_eq!(database.one::<i64>("SELECT count(*) FROM sessions").await, 0);
    // On its own, the hidden request is valid, and it is accepted once.
    let answers = talk(&api, login.repeat(2).as_bytes());
    assert!(is(&answers, &[(200, ""), (401, "login_refused")]), "{answers:?}");
    assert!(answers[0].body.contains("access_token"), "{answers:?}");
}
