//! Requests whose head or body has invalid or unusual HTTP framing.

use serde_json::json;
use testkit::{AuthApi, Database, Wallet};

use crate::hostile::table::{Table, start};
use crate::hostile::wire::{WireAnswer, post, talk};

/// A test case: its name, the bytes to send, the status and code of every response on the
/// connection, and the reason for the responses.
type Case = (&'static str, String, &'static [(u16, &'static str)], &'static str);

/// Invalid HTTP: a response of the HTTP layer without a body, after which the connection closes.
pub(crate) const NOT_HTTP: &[(u16, &str)] = &[(400, "")];
/// A body that the endpoint does not accept.
pub(crate) const NOT_JSON: &[(u16, &str)] = &[(400, "malformed")];
/// A body with invalid framing, or a truncated body.
pub(crate) const CUT_SHORT: &[(u16, &str)] = &[(400, "malformed")];
const TOO_LARGE: &[(u16, &str)] = &[(413, "too_large")];

/// Returns the status and the code of each response.
pub(crate) fn summary(answers: &[WireAnswer]) -> Vec<(u16, String)> {
    answers.iter().map(|answer| (answer.status, answer.code())).collect()
}

pub(crate) fn is(answers: &[WireAnswer], expected: &[(u16, &str)]) -> bool {
    let seen = summary(answers);
    seen.iter().map(|(status, code)| (*status, code.as_str())).eq(expected.iter().copied())
}

fn chunked(chunks: &str) -> String {
    format!(
        "POST /auth/challenge HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}"
    )
}

fn chunk(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}

#[tokio::test]
async fn chunked_body_is_cut_off_at_the_limit() {
    let database = Database::create().await;
    let api = start(&database).await;
    let large = "G".repeat(17_000);
    let tiny_chunks: String = large.chars().map(|letter| chunk(&letter.to_string())).collect();
    let padded = format!("1;{}\r\nG\r\n", "x".repeat(20)).repeat(17_000);
    let cases: Vec<Case> = vec![
        ("one chunk", chunked(&(chunk(&large) + "0\r\n\r\n")), TOO_LARGE, "the limit is 16 KiB"),
        (
            "tiny chunks",
            chunked(&(tiny_chunks.clone() + "0\r\n\r\n")),
            TOO_LARGE,
            "the total size counts",
        ),
        (
            "tiny chunks with extensions",
            chunked(&(padded + "0\r\n\r\n")),
            TOO_LARGE,
            "skipping extensions costs nothing",
        ),
        (
            "tiny chunks without an end",
            chunked(&tiny_chunks),
            TOO_LARGE,
            "the server does not wait for the end",
        ),
        (
            "a chunk of 16 exabytes",
            chunked(&format!("ffffffffffffffff\r\n{large}")),
            TOO_LARGE,
            "no memory is reserved for the announced size",
        ),
        (
            "a length of 16 exabytes",
            format!(
                "POST /auth/challenge HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 18446744073709551615\r\n\r\n{large}"
            ),
            TOO_LARGE,
            "no memory is reserved for the announced size",
        ),
        (
            "a body shorter than its length",
            post("/auth/challenge", "Host: x\r\n", &large)[..120].to_owned(),
            CUT_SHORT,
            "the received part is within the limit",
        ),
        (
            "a size of 17 digits",
            chunked("10000000000000002\r\n{}\r\n0\r\n\r\n"),
            CUT_SHORT,
            "the size must not overflow to 2",
        ),
        (
            "a size of 17 digits with leading zeros",
            chunked("00000000000000002\r\n{}\r\n0\r\n\r\n"),
            NOT_JSON,
            "the size is 2",
        ),
    ];
    check(&api, cases);
}

#[tokio::test]
async fn malformed_chunks_are_rejected() {
    const SIZE: &str = "a size is hexadecimal digits (RFC 9112 §7.1)";
    let database = Database::create().await;
    let api = start(&database).await;
    let body = json!({ "address": Wallet::generate().address() }).to_string();
    let size = format!("{:x}", body.len());
    let with = |size: &str| chunked(&format!("{size}\r\n{body}\r\n0\r\n\r\n"));
    let cases: Vec<Case> = vec![
        ("0x", with(&format!("0x{size}")), CUT_SHORT, SIZE),
        ("a plus sign", with(&format!("+{size}")), CUT_SHORT, SIZE),
        ("a minus sign", with(&format!("-{size}")), CUT_SHORT, SIZE),
        ("a leading space", with(&format!(" {size}")), CUT_SHORT, SIZE),
        ("a space and another digit", with(&format!("{size} 1")), CUT_SHORT, SIZE),
        ("an underscore", with(&format!("{size}_")), CUT_SHORT, SIZE),
        ("no size", with(""), CUT_SHORT, SIZE),
        (
            "LF after the size",
            chunked(&format!("{size}\n{body}\r\n0\r\n\r\n")),
            CUT_SHORT,
            "a line ends in CRLF",
        ),
        (
            "LF in an extension",
            chunked(&format!("{size};\n{body}\r\n0\r\n\r\n")),
            CUT_SHORT,
            "some parsers end the line there",
        ),
        (
            "CR in an extension",
            chunked(&format!("{size};a\rb\r\n{body}\r\n0\r\n\r\n")),
            CUT_SHORT,
            "some parsers end the line there",
        ),
        (
            "NUL in an extension",
            chunked(&format!("{size};\0\r\n{body}\r\n0\r\n\r\n")),
            CUT_SHORT,
            "control characters are not allowed",
        ),
        (
            "no CRLF after the chunk",
            chunked(&format!("{size}\r\n{body}0\r\n\r\n")),
            CUT_SHORT,
            "the size must match the chunk",
        ),
        (
            "LF after the chunk",
            chunked(&format!("{size}\r\n{body}\n0\r\n\r\n")),
            CUT_SHORT,
            "a line ends in CRLF",
        ),
        (
            "a chunk longer than its size",
            chunked(&format!("1\r\n{body}\r\n0\r\n\r\n")),
            CUT_SHORT,
            "the size must match the chunk",
        ),
        ("no last chunk", chunked(&chunk(&body)), CUT_SHORT, "the body is truncated"),
        (
            "no end after the last chunk",
            chunked(&(chunk(&body) + "0\r\n")),
            CUT_SHORT,
            "the body is truncated",
        ),
        ("valid", with(&size), &[(200, "")], "this is the usual form"),
        (
            "valid, with an extension",
            with(&format!("{size};name=value;other")),
            &[(200, "")],
            "extensions are skipped (RFC 9112 §7.1.1)",
        ),
        (
            "valid, with trailers",
            chunked(&(chunk(&body) + "0\r\nContent-Length: 1\r\nHost: y\r\n\r\n")),
            &[(200, "")],
            "trailers are ignored",
        ),
        (
            "valid, with capital digits and leading zeros",
            with(&format!("000{}", size.to_uppercase())),
            &[(200, "")],
            "digits are case-insensitive",
        ),
    ];
    check(&api, cases);
}

#[tokio::test]
async fn invalid_http_head_is_400_and_closes_the_connection() {
    const NAME: &str = "a field name is a token, directly followed by a colon (RFC 9112 §5)";
    const HOST: &str = "exactly one Host (RFC 9112 §3.2)";
    let database = Database::create().await;
    let api = start(&database).await;
    let body = json!({ "address": Wallet::generate().address() }).to_string();
    let with = |headers: &str| post("/auth/challenge", &format!("Host: x\r\n{headers}"), &body);
    let cases: Vec<Case> = vec![
        ("no Host", post("/auth/challenge", "", &body), NOT_HTTP, HOST),
        ("two Hosts", with("Host: y\r\n"), NOT_HTTP, HOST),
        ("two Hosts that agree", with("host: x\r\n"), NOT_HTTP, HOST),
        ("a space before the colon", with("X : y\r\n"), NOT_HTTP, NAME),
        ("a space in a name", with("X y: z\r\n"), NOT_HTTP, NAME),
        ("no name", with(": y\r\n"), NOT_HTTP, NAME),
        ("no colon", with("X\r\n"), NOT_HTTP, NAME),
        ("a NUL in a name", with("X\0: y\r\n"), NOT_HTTP, NAME),
        (
            "a NUL in a value",
            with("X: y\0\r\n"),
            NOT_HTTP,
            "control characters are not allowed (RFC 9110 §5.5)",
        ),
        ("a CR in a value", with("X: y\rz\r\n"), NOT_HTTP, "some parsers end the line there"),
        ("a folded line", with("X: y\r\n z\r\n"), NOT_HTTP, "folding is obsolete (RFC 9112 §5.2)"),
        ("a line folded by a tab", with("X: y\r\n\tz\r\n"), NOT_HTTP, "folding is obsolete"),
        (
            "a folded first line",
            post("/auth/challenge", " Host: x\r\nHost: x\r\n", &body),
            NOT_HTTP,
            "there is no line to continue",
        ),
        ("HTTP/0.9", "GET /auth/session\r\n\r\n".into(), NOT_HTTP, "HTTP/0.9 is not supported"),
        (
            "HTTP/1.2",
            with("").replacen("HTTP/1.1", "HTTP/1.2", 1),
            NOT_HTTP,
            "the version does not exist",
        ),
        (
            "HTTP/2.0 as text",
            with("").replacen("HTTP/1.1", "HTTP/2.0", 1),
            NOT_HTTP,
            "HTTP/2 is not a text protocol",
        ),
        (
            "HTTP/2 with prior knowledge",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into(),
            NOT_HTTP,
            "HTTP/2 is not supported",
        ),
        (
            "lower-case http",
            with("").replacen("HTTP/1.1", "http/1.1", 1),
            NOT_HTTP,
            "the version is case-sensitive",
        ),
        (
            "two spaces in the request line",
            with("").replacen(' ', "  ", 1),
            NOT_HTTP,
            "exactly one space (RFC 9112 §3)",
        ),
        (
            "a NUL in the target",
            post("/auth/\0challenge", "Host: x\r\n", &body),
            NOT_HTTP,
            "the target is not a URI",
        ),
        (
            "TLS",
            "\u{16}\u{3}\u{1}\0\u{5}\u{1}\0\0\u{1}\u{3}\u{3}\r\n\r\n".into(),
            NOT_HTTP,
            "the proxy terminates TLS",
        ),
        (
            "too many fields",
            with(&"X: y\r\n".repeat(120)),
            &[(431, "")],
            "at most 96 fields are accepted",
        ),
    ];
    check(&api, cases);
}

fn check(api: &AuthApi, cases: Vec<Case>) {
    let mut table = Table::default();
    for (name, bytes, expected, why) in cases {
        let answers = talk(api, bytes.as_bytes());
        table.holds(name, &format!("{expected:?}: {why}"), is(&answers, expected), &answers);
    }
    table.end();
}
