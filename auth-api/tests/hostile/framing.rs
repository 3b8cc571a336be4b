//! Requests whose bodies or heads are framed in ways that are no HTTP, or hardly.

use serde_json::json;
use testkit::{AuthApi, Database, Wallet};

use crate::table::{Table, start};
use crate::wire::{WireAnswer, post, talk};

/// Name, what is sent, the statuses and codes of all answers on the connection, why.
type Case = (&'static str, String, &'static [(u16, &'static str)], &'static str);

/// Not HTTP: the HTTP layer's own answer, which has no body, and the end of the connection.
pub(crate) const NOT_HTTP: &[(u16, &str)] = &[(400, "")];
/// A body that is not what the endpoint takes.
pub(crate) const NOT_JSON: &[(u16, &str)] = &[(400, "malformed")];
/// A body whose framing breaks, or that does not come to its end.
pub(crate) const CUT_SHORT: &[(u16, &str)] = &[(400, "malformed")];
const TOO_LARGE: &[(u16, &str)] = &[(413, "too_large")];

/// Statuses and codes, as the tables have them.
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
async fn a_body_in_chunks_ends_at_the_limit_whatever_the_chunks_say() {
    let database = Database::create().await;
    let api = start(&database).await;
    let large = "G".repeat(17_000);
    let crumbs: String = large.chars().map(|letter| chunk(&letter.to_string())).collect();
    let padded = format!("1;{}\r\nG\r\n", "x".repeat(20)).repeat(17_000);
    let cases: Vec<Case> = vec![
        ("one chunk", chunked(&(chunk(&large) + "0\r\n\r\n")), TOO_LARGE, "16 KiB"),
        ("crumbs", chunked(&(crumbs.clone() + "0\r\n\r\n")), TOO_LARGE, "the sum counts"),
        (
            "crumbs with extensions",
            chunked(&(padded + "0\r\n\r\n")),
            TOO_LARGE,
            "what is skipped costs nothing",
        ),
        ("crumbs without an end", chunked(&crumbs), TOO_LARGE, "the end is not waited for"),
        (
            "a chunk of 16 exabytes",
            chunked(&format!("ffffffffffffffff\r\n{large}")),
            TOO_LARGE,
            "nothing is set aside for it",
        ),
        (
            "a length of 16 exabytes",
            format!(
                "POST /auth/challenge HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 18446744073709551615\r\n\r\n{large}"
            ),
            TOO_LARGE,
            "nothing is set aside for it",
        ),
        (
            "a length that it does not keep",
            post("/auth/challenge", "Host: x\r\n", &large)[..120].to_owned(),
            CUT_SHORT,
            "what did not come was not too large",
        ),
        (
            "a size of 17 digits",
            chunked("10000000000000002\r\n{}\r\n0\r\n\r\n"),
            CUT_SHORT,
            "it would come round to 2",
        ),
        (
            "a size of 17 digits, zeros first",
            chunked("00000000000000002\r\n{}\r\n0\r\n\r\n"),
            NOT_JSON,
            "it is 2",
        ),
    ];
    check(&api, cases);
}

#[tokio::test]
async fn chunks_are_read_strictly() {
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
        ("a blank before", with(&format!(" {size}")), CUT_SHORT, SIZE),
        ("a blank and more", with(&format!("{size} 1")), CUT_SHORT, SIZE),
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
            "some end the line there",
        ),
        (
            "CR in an extension",
            chunked(&format!("{size};a\rb\r\n{body}\r\n0\r\n\r\n")),
            CUT_SHORT,
            "some end the line there",
        ),
        (
            "NUL in an extension",
            chunked(&format!("{size};\0\r\n{body}\r\n0\r\n\r\n")),
            CUT_SHORT,
            "no text",
        ),
        (
            "no CRLF after the chunk",
            chunked(&format!("{size}\r\n{body}0\r\n\r\n")),
            CUT_SHORT,
            "the chunk is as long as it says",
        ),
        (
            "LF after the chunk",
            chunked(&format!("{size}\r\n{body}\n0\r\n\r\n")),
            CUT_SHORT,
            "a line ends in CRLF",
        ),
        (
            "a chunk longer than it says",
            chunked(&format!("1\r\n{body}\r\n0\r\n\r\n")),
            CUT_SHORT,
            "the chunk is as long as it says",
        ),
        ("no last chunk", chunked(&chunk(&body)), CUT_SHORT, "the body did not come to its end"),
        (
            "no end after the last chunk",
            chunked(&(chunk(&body) + "0\r\n")),
            CUT_SHORT,
            "the body did not come to its end",
        ),
        ("honest", with(&size), &[(200, "")], "that is how it is written"),
        (
            "honest, with an extension",
            with(&format!("{size};name=value;other")),
            &[(200, "")],
            "extensions are skipped (RFC 9112 §7.1.1)",
        ),
        (
            "honest, with trailers",
            chunked(&(chunk(&body) + "0\r\nContent-Length: 1\r\nHost: y\r\n\r\n")),
            &[(200, "")],
            "trailers change nothing",
        ),
        (
            "honest, of capital digits and zeros",
            with(&format!("000{}", size.to_uppercase())),
            &[(200, "")],
            "digits have no case",
        ),
    ];
    check(&api, cases);
}

#[tokio::test]
async fn a_head_that_is_not_http_is_400_and_the_end() {
    const NAME: &str = "a field's name is a token, and the colon follows it (RFC 9112 §5)";
    const HOST: &str = "one Host (RFC 9112 §3.2)";
    let database = Database::create().await;
    let api = start(&database).await;
    let body = json!({ "address": Wallet::generate().address() }).to_string();
    let with = |headers: &str| post("/auth/challenge", &format!("Host: x\r\n{headers}"), &body);
    let cases: Vec<Case> = vec![
        ("no Host", post("/auth/challenge", "", &body), NOT_HTTP, HOST),
        ("two Hosts", with("Host: y\r\n"), NOT_HTTP, HOST),
        ("two Hosts that agree", with("host: x\r\n"), NOT_HTTP, HOST),
        ("a blank before the colon", with("X : y\r\n"), NOT_HTTP, NAME),
        ("a blank in a name", with("X y: z\r\n"), NOT_HTTP, NAME),
        ("no name", with(": y\r\n"), NOT_HTTP, NAME),
        ("no colon", with("X\r\n"), NOT_HTTP, NAME),
        ("a NUL in a name", with("X\0: y\r\n"), NOT_HTTP, NAME),
        ("a NUL in a value", with("X: y\0\r\n"), NOT_HTTP, "no text (RFC 9110 §5.5)"),
        ("a CR in a value", with("X: y\rz\r\n"), NOT_HTTP, "some end the line there"),
        ("a folded line", with("X: y\r\n z\r\n"), NOT_HTTP, "folding is obsolete (RFC 9112 §5.2)"),
        ("a line folded by a tab", with("X: y\r\n\tz\r\n"), NOT_HTTP, "folding is obsolete"),
        (
            "a first line that is folded",
            post("/auth/challenge", " Host: x\r\nHost: x\r\n", &body),
            NOT_HTTP,
            "there is nothing that it goes on from",
        ),
        ("HTTP/0.9", "GET /auth/session\r\n\r\n".into(), NOT_HTTP, "not since 1996"),
        (
            "HTTP/1.2",
            with("").replacen("HTTP/1.1", "HTTP/1.2", 1),
            NOT_HTTP,
            "no version that there is",
        ),
        (
            "HTTP/2.0 in words",
            with("").replacen("HTTP/1.1", "HTTP/2.0", 1),
            NOT_HTTP,
            "that is not how it is spoken",
        ),
        (
            "HTTP/2 without asking",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into(),
            NOT_HTTP,
            "it is not spoken here",
        ),
        (
            "lower-case http",
            with("").replacen("HTTP/1.1", "http/1.1", 1),
            NOT_HTTP,
            "versions have a case",
        ),
        (
            "two blanks in the request line",
            with("").replacen(' ', "  ", 1),
            NOT_HTTP,
            "one blank (RFC 9112 §3)",
        ),
        (
            "a NUL in the target",
            post("/auth/\0challenge", "Host: x\r\n", &body),
            NOT_HTTP,
            "no URI",
        ),
        (
            "TLS",
            "\u{16}\u{3}\u{1}\0\u{5}\u{1}\0\0\u{1}\u{3}\u{3}\r\n\r\n".into(),
            NOT_HTTP,
            "that is for the proxy in front",
        ),
        (
            "too many fields",
            with(&"X: y\r\n".repeat(120)),
            &[(431, "")],
            "96 of them are more than enough",
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
