//! Pipelined requests on one connection, and headers that try to override the method or the path.

use std::collections::BTreeSet;

use serde_json::json;
use testkit::{Database, Wallet};

use crate::hostile::framing::{NOT_JSON, is};
use crate::hostile::table::{Table, start};
use crate::hostile::wire::{post, talk};

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let database = Database::create().await;
    let api = start(&database).await;
    let (wallet, other) = (Wallet::generate(), Wallet::generate());
    let challenge = |of: &Wallet| {
        post("/auth/challenge", "Host: x\r\n", &json!({ "address": of.address() }).to_string())
    };
    let tokens = api.login(&wallet).await;
    let session = |headers: &str| format!("GET /auth/session HTTP/1.1\r\nHost: x\r\n{headers}\r\n");
    let bearer = format!("Authorization: Bearer {}\r\n", tokens.access);
    let stream = [
        session(&bearer),
        session(""),
        challenge(&other),
        post("/auth/challenge", "Host: x\r\n", "{"),
        challenge(&wallet),
        session(&bearer),
        session("Connection: close\r\n"),
    ];
    let answers = talk(&api, stream.concat().as_bytes());
    let malformed = (400, "malformed");
    let unauthenticated = (401, "unauthenticated");
    let expected =
        [(200, ""), unauthenticated, (200, ""), malformed, (200, ""), (200, ""), unauthenticated];
    assert!(is(&answers, &expected), "a credential applies to one request: {answers:?}");
    assert!(
        answers[2].body.contains(other.address()) && answers[4].body.contains(wallet.address()),
        "{answers:?}"
    );
    let ids: BTreeSet<&str> = answers
        .iter()
        .filter_map(|answer| answer.head.lines().find(|line| line.starts_with("x-request-id")))
        .collect();
    assert_eq!(ids.len(), answers.len(), "each response has its own request id");
}

#[tokio::test]
async fn override_headers_do_not_change_method_or_path() {
    let database = Database::create().await;
    let api = start(&database).await;
    let wallet = Wallet::generate();
    let message = api.challenge(&wallet).await;
    let body = json!({ "message": message, "signature": wallet.sign(&message) }).to_string();
    let mut table = Table::default();
    for header in ["X-HTTP-Method-Override: POST", "X-HTTP-Method: POST", "X-Method-Override: POST"]
    {
        let request = post("/auth/login", &format!("Host: x\r\n{header}\r\n"), &body)
            .replacen("POST", "GET", 1);
        let answers = talk(&api, request.as_bytes());
        table.holds(
            header,
            "405: the method is GET",
            is(&answers, &[(405, "method_not_allowed")]),
            &answers,
        );
    }
    for header in [
        "X-Original-URL: /auth/login",
        "X-Rewrite-URL: /auth/login",
        "X-Forwarded-Prefix: /auth/login",
    ] {
        let answers = talk(
            &api,
            post("/auth/refresh", &format!("Host: x\r\n{header}\r\n"), &body).as_bytes(),
        );
        table.holds(
            header,
            "400 malformed: the path is /auth/refresh",
            is(&answers, NOT_JSON),
            &answers,
        );
        let answers =
            talk(&api, post("/nothing", &format!("Host: x\r\n{header}\r\n"), &body).as_bytes());
        table.holds(
            header,
            "404: the path is /nothing",
            is(&answers, &[(404, "not_found")]),
            &answers,
        );
    }
    table.end();
    assert_eq!(database.one::<i64>("SELECT count(*) FROM sessions").await, 0);
}
