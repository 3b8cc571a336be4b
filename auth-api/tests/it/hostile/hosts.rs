//! Request headers that claim another host.

use serde_json::json;
use testkit::{AuthApi, Database, Wallet};

use crate::hostile::table::{Table, start};
use crate::hostile::wire::{post, talk};

#[tokio::test]
async fn request_headers_do_not_change_the_challenge() {
    let database = Database::create().await;
    let api = start(&database).await;
    let wallet = Wallet::generate();
    let mut table = Table::default();
    for header in [
        "Host: evil.example.test",
        "Host: evil.example.test\r\nX-Forwarded-Host: evil.example.test\r\nX-Forwarded-Proto: http",
        "Host: auth.example.test:666",
        "Host: auth.example.test@evil.example.test",
        "Host: 127.0.0.1\r\nForwarded: host=evil.example.test;proto=http",
        "Host: 127.0.0.1\r\nX-Host: evil.example.test\r\nX-Original-Host: evil.example.test",
        "Host: 127.0.0.1\r\nOrigin: https://evil.example.test\r\nReferer: https://evil.example.test/",
        "Host:",
    ] {
        let body = json!({ "address": wallet.address() }).to_string();
        for target in ["/auth/challenge", "http://evil.example.test/auth/challenge"] {
            let request = post(target, &format!("{header}\r\n"), &body);
            let answers = talk(&api, request.as_bytes());
            let message = answers
                .first()
                .and_then(|answer| answer.json()["message"].as_str().map(str::to_owned));
            let ours = message.as_ref().is_some_and(|message| {
                message.starts_with("auth.example.test wants you")
                    && message.contains(&format!("\nURI: {}\n", AuthApi::PUBLIC_URL))
                    && !message.contains("evil")
            });
            let why = "a challenge for auth.example.test: domain and URI come from PUBLIC_URL";
            table.holds(
                &format!("{target} with {header:?}"),
                why,
                ours && answers.len() == 1,
                &answers,
            );
        }
    }
    table.end();
}
