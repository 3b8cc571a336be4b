//! Request bodies that are not the expected JSON.

use serde_json::json;
use testkit::{Answer, AuthApi, Database, Wallet};

use crate::hostile::table::{MALFORMED, TOO_LARGE, Table, UNSUPPORTED, start};

async fn send(api: &AuthApi, path: &str, body: impl Into<reqwest::Body>) -> Answer {
    send_as(api, path, "application/json", body).await
}

async fn send_as(
    api: &AuthApi,
    path: &str,
    content_type: &str,
    body: impl Into<reqwest::Body>,
) -> Answer {
    let request =
        api.client.post(format!("{}{path}", api.url)).header("content-type", content_type);
    api.send(request.body(body)).await
}

/// A test case: its name, the path, the body, the field that the error names, and the reason for
/// the rejection.
type Case = (&'static str, &'static str, Vec<u8>, Option<&'static str>, &'static str);

/// Returns bodies that are not exactly one JSON object.
fn not_one_object(address: &str) -> Vec<Case> {
    const ONE: &str = "the body is one JSON object";
    const JSON: &str = "strict RFC 8259: differences between lenient parsers bypass checks";
    let of = |text: String| text.into_bytes();
    let good = || format!(r#"{{"address":"{address}"}}"#);
    let utf16 = good().encode_utf16().flat_map(u16::to_le_bytes).collect();
    vec![
        ("nothing", "/auth/challenge", vec![], None, ONE),
        ("truncated", "/auth/challenge", b"{".to_vec(), None, JSON),
        ("an array", "/auth/challenge", b"[]".to_vec(), None, ONE),
        ("null", "/auth/challenge", b"null".to_vec(), None, ONE),
        ("a string", "/auth/challenge", b"\"G\"".to_vec(), None, ONE),
        ("the fields as an array", "/auth/challenge", of(json!([address]).to_string()), None, ONE),
        (
            "two documents",
            "/auth/challenge",
            of(good() + " {}"),
            None,
            "only one document is allowed",
        ),
        ("a trailing NUL", "/auth/challenge", of(good() + "\0"), None, "some parsers stop at NUL"),
        ("a raw NUL in a string", "/auth/challenge", b"{\"address\":\"\0\"}".to_vec(), None, JSON),
        (
            "a raw newline in a string",
            "/auth/challenge",
            b"{\"address\":\"\n\"}".to_vec(),
            None,
            JSON,
        ),
        ("a byte order mark", "/auth/challenge", of("\u{feff}".to_owned() + &good()), None, JSON),
        ("UTF-16", "/auth/challenge", utf16, None, "the charset is UTF-8"),
        (
            "not UTF-8",
            "/auth/challenge",
            b"{\"address\":\"G\xff\"}".to_vec(),
            None,
            "no replacement characters",
        ),
        (
            "half a surrogate",
            "/auth/refresh",
            br#"{"refresh_token":"\ud800"}"#.to_vec(),
            None,
            JSON,
        ),
        (
            "a trailing comma",
            "/auth/challenge",
            of(format!(r#"{{"address":"{address}",}}"#)),
            None,
            JSON,
        ),
        ("a comment", "/auth/challenge", of("/**/".to_owned() + &good()), None, JSON),
        ("single quotes", "/auth/challenge", of(good().replace('"', "'")), None, JSON),
        (
            "a name without quotes",
            "/auth/challenge",
            of(format!("{{address:\"{address}\"}}")),
            None,
            JSON,
        ),
        ("a form", "/auth/challenge", of(format!("address={address}")), None, ONE),
        (
            "deeply nested objects",
            "/auth/login",
            of("{\"message\":".repeat(1000)),
            Some("message"),
            "the nested value is not parsed",
        ),
        (
            "deeply nested arrays",
            "/auth/login",
            of("[".repeat(16_000)),
            None,
            "nesting does not exhaust the stack",
        ),
    ]
}

/// Returns JSON objects with other fields or types than the endpoint requires.
fn not_the_fields(address: &str) -> Vec<Case> {
    const TYPE: &str = "types are not converted";
    const KNOWN: &str = "unknown fields are rejected";
    const ONCE: &str = "parsers disagree on which duplicate counts";
    let of = |value: serde_json::Value| value.to_string().into_bytes();
    let twice = |one: &str, other: &str| {
        format!(r#"{{"{one}":"{address}","{other}":"{address}"}}"#).into_bytes()
    };
    let signed = |transport: serde_json::Value| {
        of(json!({"message": "m", "signature": "s", "transport": transport}))
    };
    vec![
        ("no field", "/auth/challenge", of(json!({})), Some("address"), "the field is missing"),
        ("a number", "/auth/challenge", of(json!({"address": 7})), Some("address"), TYPE),
        (
            "null for a string",
            "/auth/challenge",
            of(json!({"address": null})),
            Some("address"),
            TYPE,
        ),
        (
            "true for a string",
            "/auth/challenge",
            of(json!({"address": true})),
            Some("address"),
            TYPE,
        ),
        (
            "a string in an array",
            "/auth/challenge",
            of(json!({"address": [address]})),
            Some("address"),
            TYPE,
        ),
        (
            "an object for a string",
            "/auth/challenge",
            of(json!({"address": {"$ne": ""}})),
            Some("address"),
            TYPE,
        ),
        (
            "an unknown field",
            "/auth/challenge",
            of(json!({"address": address, "admin": true})),
            Some("admin"),
            KNOWN,
        ),
        (
            "another case",
            "/auth/challenge",
            of(json!({"Address": address})),
            Some("Address"),
            KNOWN,
        ),
        (
            "a field with an empty name",
            "/auth/challenge",
            of(json!({"address": address, "": 1})),
            Some(""),
            KNOWN,
        ),
        (
            "a prototype",
            "/auth/challenge",
            of(json!({"__proto__": {"address": address}})),
            Some("__proto__"),
            KNOWN,
        ),
        ("a field twice", "/auth/challenge", twice("address", "address"), Some("address"), ONCE),
        (
            "twice, once escaped",
            "/auth/challenge",
            twice("address", "\\u0061ddress"),
            Some("address"),
            ONCE,
        ),
        (
            "two messages",
            "/auth/login",
            br#"{"message":"m","signature":"s","message":"n"}"#.to_vec(),
            Some("message"),
            ONCE,
        ),
        (
            "no signature",
            "/auth/login",
            of(json!({"message": "m"})),
            Some("signature"),
            "the field is missing",
        ),
        (
            "no message",
            "/auth/login",
            of(json!({"signature": "s"})),
            Some("message"),
            "the field is missing",
        ),
        (
            "a message object",
            "/auth/login",
            of(json!({"message": {}, "signature": "s"})),
            Some("message"),
            TYPE,
        ),
        (
            "an unknown transport",
            "/auth/login",
            signed(json!("pigeon")),
            Some("transport"),
            "the transport is unknown",
        ),
        (
            "a transport in capitals",
            "/auth/login",
            signed(json!("TOKEN")),
            Some("transport"),
            "the transport is unknown",
        ),
        (
            "a transport object",
            "/auth/login",
            signed(json!({"token": null})),
            Some("transport"),
            TYPE,
        ),
        ("a transport number", "/auth/login", signed(json!(0)), Some("transport"), TYPE),
        (
            "a token number",
            "/auth/refresh",
            of(json!({"refresh_token": 1})),
            Some("refresh_token"),
            TYPE,
        ),
        ("no token", "/auth/refresh", of(json!({})), Some("refresh_token"), "the field is missing"),
        (
            "a token and more",
            "/auth/refresh",
            of(json!({"refresh_token": "", "x": 1})),
            Some("x"),
            KNOWN,
        ),
        (
            "a logout without a token",
            "/auth/logout",
            of(json!({})),
            Some("refresh_token"),
            "the field is missing",
        ),
        (
            "a logout of an array",
            "/auth/logout",
            of(json!([])),
            None,
            "the body is one JSON object",
        ),
    ]
}

#[tokio::test]
async fn invalid_body_is_400_and_names_the_field() {
    let database = Database::create().await;
    let api = start(&database).await;
    let address = Wallet::generate().address().to_owned();
    let mut table = Table::default();
    for (name, path, body, field, why) in
        not_one_object(&address).into_iter().chain(not_the_fields(&address))
    {
        let answer = send(&api, path, body).await;
        table.refused(name, why, MALFORMED, &answer);
        let named = answer.body["field"].as_str() == field;
        let has_detail = answer.body["detail"].as_str().is_some_and(|detail| !detail.is_empty());
        table.holds(
            name,
            &format!("field {field:?} and a detail"),
            named && has_detail,
            &answer.body,
        );
    }
    table.end();
    assert_eq!(
        send(&api, "/auth/challenge", json!({ "address": address }).to_string()).await.status,
        200
    );
}

#[tokio::test]
async fn error_does_not_repeat_the_request_body() {
    let database = Database::create().await;
    let api = start(&database).await;
    let long = "x".repeat(100) + "a-secret";
    for body in [
        json!({ "message": ["a-secret-in-the-wrong-place"], "signature": { "a-secret": 1 } }),
        json!({ "message": "m", "signature": "s", "transport": "a-secret" }),
        json!({ "message": "m", "signature": "s", long: "a-secret" }),
    ] {
        let answer = api.post("/auth/login", &body).await;
        answer.is_problem(400, "malformed");
        assert!(!answer.body.to_string().contains("a-secret"), "{answer:?}");
    }
}

#[tokio::test]
async fn body_over_16_kib_is_413_with_and_without_a_length() {
    let database = Database::create().await;
    let api = start(&database).await;
    let mut table = Table::default();
    let large = format!(r#"{{"address":"{}"}}"#, "G".repeat(16 * 1024));
    let chunks_of = |size: usize| {
        let chunks: Vec<Result<Vec<u8>, std::io::Error>> =
            large.as_bytes().chunks(size).map(|chunk| Ok(chunk.to_vec())).collect();
        reqwest::Body::wrap_stream(futures_util::stream::iter(chunks))
    };
    for path in ["/auth/challenge", "/auth/login", "/auth/refresh", "/auth/logout"] {
        for (name, body) in [
            ("with its length", reqwest::Body::from(large.clone())),
            ("in chunks", chunks_of(1000)),
            ("in tiny chunks", chunks_of(7)),
        ] {
            let answer = send(&api, path, body).await;
            table.refused(&format!("{path} {name}"), "the limit is 16 KiB", TOO_LARGE, &answer);
        }
    }
    table.end();
    let largest = format!(r#"{{"address":"{}"}}"#, "G".repeat(16 * 1024 - 14));
    assert_eq!(largest.len(), 16 * 1024);
    send(&api, "/auth/challenge", largest).await.is_problem(400, "invalid_address");
}

#[tokio::test]
async fn body_that_is_not_plain_json_is_415() {
    const FORM: &str = "a form on another site can send it without a CORS preflight";
    let database = Database::create().await;
    let api = start(&database).await;
    let mut table = Table::default();
    let body = json!({ "address": Wallet::generate().address() }).to_string();
    for (wrong, why) in [
        ("text/plain", FORM),
        ("application/x-www-form-urlencoded", FORM),
        ("multipart/form-data; boundary=x", FORM),
        ("text/plain; application/json", FORM),
        ("application/jsonp", "another type"),
        ("application/merge-patch+json", "another type"),
        ("application/json; charset=utf-16", "JSON is UTF-8"),
        ("nonsense", "not a media type"),
        ("", "not a media type"),
    ] {
        let answer = send_as(&api, "/auth/challenge", wrong, body.clone()).await;
        table.refused(&format!("as {wrong:?}"), why, UNSUPPORTED, &answer);
    }
    let url = format!("{}/auth/challenge", api.url);
    let none = api.send(api.client.post(&url).body(body.clone())).await;
    table.refused("without a type", "the type is not guessed", UNSUPPORTED, &none);
    for encoding in ["gzip", "br", "deflate", "identity, gzip"] {
        let zipped = api.client.post(&url).header("content-encoding", encoding);
        let answer =
            api.send(zipped.header("content-type", "application/json").body(body.clone())).await;
        table.refused(
            encoding,
            "16 KiB of compressed data can expand to gigabytes",
            UNSUPPORTED,
            &answer,
        );
    }
    table.end();
    for right in
        ["application/json", "application/json; charset=utf-8", "Application/JSON;charset=UTF-8"]
    {
        assert_eq!(
            send_as(&api, "/auth/challenge", right, body.clone()).await.status,
            200,
            "{right}"
        );
    }
}
