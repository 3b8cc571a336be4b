//! A request inside another: where two readers cut a stream of bytes differently, the second one is
//! answered to somebody who did not send it, or past whoever looked at the first. Here it is always
//! a good login, and never answered.

use serde_json::json;
use testkit::{Database, Wallet};

use crate::framing::{CUT_SHORT, NOT_HTTP, NOT_JSON, is};
use crate::table::{Table, start};
use crate::wire::{post, talk};

/// Name, what is sent, the statuses and codes of all answers on the connection, why.
type Case = (String, String, Answers, &'static str);
/// Statuses and codes.
type Answers = &'static [(u16, &'static str)];

const FRONT: &str =
    "POST /auth/challenge HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n";

fn case(name: &str, bytes: String, expected: Answers, why: &'static str) -> Case {
    (name.to_owned(), bytes, expected, why)
}

/// Two lengths, or a length and chunks: RFC 9112 §6.3 leaves it to each reader which of them
/// counts.
fn ambiguous(login: &str) -> Vec<Case> {
    const ONE: &str = "one length, said once";
    const DIGITS: &str = "a length is digits (RFC 9110 §8.6)";
    const CHUNKED: &str = "chunked, and nothing else (RFC 9112 §6.1)";
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
            "chunks and a length of none",
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
            "a length of an HTTP/1.0 request in chunks",
            coded("chunked").replacen("1.1", "1.0", 1),
            NOT_HTTP,
            "HTTP/1.0 has none",
        ),
        case(
            "an HTTP/1.0 request in chunks",
            only("chunked").replacen("1.1", "1.0", 1),
            NOT_HTTP,
            "HTTP/1.0 has none",
        ),
        case(
            "an HTTP/1.0 request of no length",
            front("", login).replacen("1.1", "1.0", 1),
            NOT_HTTP,
            "it would end with the connection",
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

/// Codings and lengths that one reader sees and another does not.
fn disguised(login: &str) -> Vec<Case> {
    const NAME: &str = "the colon follows the name (RFC 9112 §5.1)";
    const FOLD: &str = "folding is obsolete (RFC 9112 §5.2)";
    const LINE: &str = "what ends a line for one and not for another ends the connection";
    let hidden = format!("0\r\n\r\n{login}");
    let with =
        |line: &str| format!("{FRONT}Content-Length: {}\r\n{line}\r\n{hidden}", hidden.len());
    vec![
        case("a blank before the colon", with("Transfer-Encoding : chunked\r\n"), NOT_HTTP, NAME),
        case("a tab before the colon", with("Transfer-Encoding\t: chunked\r\n"), NOT_HTTP, NAME),
        case(
            "a line that is folded",
            with("X: y\r\n Transfer-Encoding: chunked\r\n"),
            NOT_HTTP,
            FOLD,
        ),
        case("a value that is folded", with("Transfer-Encoding:\r\n chunked\r\n"), NOT_HTTP, FOLD),
        case(
            "a value folded by a tab",
            with("Transfer-Encoding: x,\r\n\tchunked\r\n"),
            NOT_HTTP,
            FOLD,
        ),
        case(
            "a length that is folded",
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
            "that is another field, which says nothing",
        ),
        case(
            "an X- before",
            with("X-Transfer-Encoding: chunked\r\nX-Content-Length: 0\r\n"),
            NOT_JSON,
            "that is another field",
        ),
        case("a TE", with("TE: chunked\r\n"), NOT_JSON, "it is about the answer"),
        case(
            "a length that Connection names",
            with("Connection: close, Content-Length\r\n"),
            NOT_JSON,
            "it counts all the same",
        ),
        case(
            "lines that end in LF",
            with("").replacen("\r\n", "\n", 5),
            NOT_JSON,
            "RFC 9112 §2.2 allows it, and then the length counts",
        ),
    ]
}

/// Bodies that nobody reads: of a request that was refused for its head, or to what takes none.
fn unread(login: &str) -> Vec<Case> {
    const BODY: &str = "a body is one, whether anybody wants it or not";
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
        cases.push(case(&format!("{line}, which would wait"), waits, expected, BODY));
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
            "a body that is no JSON",
            format!("{FRONT}Content-Length: {length}\r\n\r\n{login}"),
            NOT_JSON,
            BODY,
        ),
        case(
            "a chunk that is no JSON",
            format!("{FRONT}Transfer-Encoding: chunked\r\n\r\n{chunk}"),
            NOT_JSON,
            BODY,
        ),
        case(
            "a chunk that breaks, and a login",
            format!("{FRONT}Transfer-Encoding: chunked\r\n\r\nx\r\n{login}"),
            CUT_SHORT,
            "nothing after that is a request",
        ),
        case(
            "trailers",
            format!("{FRONT}Transfer-Encoding: chunked\r\n\r\n0\r\nX: y\n{login}"),
            &[(400, "malformed"), (400, "")],
            "what stands there is a trailer up to the empty line",
        ),
    ]);
    cases
}

/// Requests to speak something else from here on.
fn switched(login: &str) -> Vec<Case> {
    const REST: &str = "nothing else is spoken here: what follows is a body, or nothing";
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
            "a websocket of an unknown path",
            with("GET /nothing", "Connection: Upgrade\r\nUpgrade: websocket\r\n"),
            &[(404, "not_found")],
            REST,
        ),
        case("a tunnel", with("CONNECT x:80", ""), &[(404, "not_found")], REST),
    ]
}

#[tokio::test]
async fn a_request_inside_another_is_never_answered() {
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
    // By itself it would have been answered, and as often as it was sent only once.
    let answers = talk(&api, login.repeat(2).as_bytes());
    assert!(is(&answers, &[(200, ""), (401, "login_refused")]), "{answers:?}");
    assert!(answers[0].body.contains("access_token"), "{answers:?}");
}
