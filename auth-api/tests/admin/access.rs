//! Who may: whoever has the token, and where there is one.

use serde_json::json;
use testkit::{Answer, AuthApi, Database, Wallet};

use crate::desk::{Desk, TOKEN};

#[tokio::test]
async fn without_a_token_file_there_is_nothing() {
    let database = Database::create().await;
    let api = AuthApi::start(&database, &[]).await;
    let nothing = api.send(api.client.get(format!("{}/nothing", api.ops_url))).await;
    nothing.is_problem(404, "not_found");
    for (method, path) in [
        ("GET", "/admin"),
        ("GET", "/admin/sessions"),
        ("POST", "/admin/sessions/revoke"),
        ("DELETE", "/admin/sessions/0197f0a2-7c3e-7d10-9c55-0d0c6d8d3a7e"),
        ("DELETE", "/admin/accounts/0197f0a2-7c3e-7d10-9c55-0d0c6d8d3a7e/sessions"),
    ] {
        let request = api.client.request(method.parse().unwrap(), format!("{}{path}", api.ops_url));
        let answer = api.send(request.bearer_auth(TOKEN)).await;
        answer.is_problem(404, "not_found");
        let names = |answer: &Answer| answer.headers.keys().cloned().collect::<Vec<_>>();
        assert_eq!(
            (names(&answer), &answer.body),
            (names(&nothing), &nothing.body),
            "{method} {path}"
        );
    }
}

#[tokio::test]
async fn only_the_token_opens() {
    let desk = Desk::set().await;
    let get = |path: &str| desk.api.client.get(desk.api.admin(path));
    let refused = [
        None,
        Some("Bearer".to_owned()),
        Some("Bearer ".to_owned()),
        Some(format!("Basic {TOKEN}")),
        Some(TOKEN.to_owned()),
        Some(format!("Bearer {}", &TOKEN[1..])),
        Some(format!("Bearer {TOKEN}0")),
        Some(format!("Bearer {}", TOKEN.to_uppercase())),
        Some(format!("Bearer {TOKEN}, Bearer {TOKEN}")),
    ];
    for authorization in &refused {
        for path in ["/admin", "/admin/sessions", "/admin/nothing"] {
            let mut request = get(path);
            if let Some(value) = authorization {
                request = request.header("Authorization", value);
            }
            let answer = desk.api.send(request).await;
            answer.is_problem(401, "unauthenticated");
            // RFC 6750 §3.1: an error only where there was a token.
            let token =
                authorization.as_ref().is_some_and(|value| value.trim().starts_with("Bearer "));
            let challenge = if token { r#"Bearer error="invalid_token""# } else { "Bearer" };
            assert_eq!(answer.headers["www-authenticate"], challenge, "{authorization:?}");
        }
    }
    let twice = get("/admin/sessions")
        .bearer_auth(TOKEN)
        .header("Authorization", format!("Bearer {TOKEN}"));
    desk.api.send(twice).await.is_problem(401, "unauthenticated");
    // A user's credential is none of an operator.
    let user = desk.api.login(&Wallet::generate()).await;
    desk.api
        .send(get("/admin/sessions").bearer_auth(&user.access))
        .await
        .is_problem(401, "unauthenticated");

    let answer = desk
        .api
        .send(get("/admin/sessions").header("Authorization", format!("bearer {TOKEN}")))
        .await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.headers["cache-control"], "no-store");
    // As on every port.
    assert_eq!(answer.headers["x-content-type-options"], "nosniff");
    assert!(
        answer.headers["content-security-policy"].to_str().unwrap().contains("default-src 'none'"),
        "{answer:?}"
    );
    // The audit event belongs to the request.
    desk.told("admin_list", 1).await;
    let (log, id) =
        (desk.api.program.stderr(), answer.headers["x-request-id"].to_str().unwrap().to_owned());
    let listed = log.lines().find(|line| line.contains("admin_list")).unwrap();
    assert!(listed.contains(&id) && listed.contains("\"/admin/sessions\""), "{listed}");
    desk.ask("GET", "/admin/nothing").await.is_problem(404, "not_found");
    let answer = desk.ask("POST", "/admin/sessions").await;
    answer.is_problem(405, "method_not_allowed");
    assert_eq!(answer.headers["allow"], "GET");
    desk.ask("GET", "/admin/sessions/revoke").await.is_problem(405, "method_not_allowed");
    // Not on the API's port, nor where health and metrics are, whoever asks.
    for url in [&desk.api.url, &desk.api.ops_url] {
        let elsewhere = desk.api.client.get(format!("{url}/admin/sessions")).bearer_auth(TOKEN);
        desk.api.send(elsewhere).await.is_problem(404, "not_found");
    }
    for path in ["/metrics", "/livez", "/readyz"] {
        desk.ask("GET", path).await.is_problem(404, "not_found");
    }
    // A page whose name leads here is told nothing, even with the token.
    let rebound = get("/admin/sessions").bearer_auth(TOKEN).header("Host", "rebound.example");
    desk.api.send(rebound).await.is_problem(421, "misdirected");
    let large = get("/admin/sessions").bearer_auth(TOKEN).header("x", "x".repeat(17_000));
    assert_eq!(desk.api.send(large).await.status, 431, "MAX_HEAD_SIZE holds here, too");

    let times = refused.len() * 3 + 2;
    let told = desk.told("admin_refused", times).await;
    assert_eq!(told.len(), times);
    assert_eq!(
        (&told[0]["event"], &told[0]["reason"]),
        (&json!("admin_refused"), &json!("no token"))
    );
    assert_eq!(
        (&told[0]["ip"], &told[1]["route"]),
        (&json!("127.0.0.1"), &json!("/admin/sessions"))
    );
    assert_eq!(told.last().unwrap()["reason"], "another token");
    assert!(!desk.api.program.stderr().contains(TOKEN), "the token is in the log");
}

#[tokio::test]
async fn the_token_is_read_again_at_sighup() {
    let desk = Desk::set().await;
    let file = desk.directory.path().join("token");
    let other = "another-token-of-the-operators-0123456789";
    let status = async |token: &str| {
        let request = desk.api.client.get(desk.api.admin("/admin/sessions"));
        desk.api.send(request.bearer_auth(token)).await.status.as_u16()
    };
    std::fs::write(&file, other).unwrap();
    assert_eq!((status(TOKEN).await, status(other).await), (200, 401), "not before SIGHUP");
    assert_eq!(desk.api.reload().await, [""; 0]);
    assert_eq!((status(TOKEN).await, status(other).await), (401, 200));
    std::fs::write(&file, "short").unwrap();
    let told = desk.api.reload().await;
    assert!(
        told.len() == 1 && told[0].contains("ADMIN_TOKEN_FILE") && told[0].contains("shorter"),
        "{told:?}"
    );
    // A directory that is gone says nothing of what the operator wants.
    let (here, away) = (desk.directory.path(), desk.directory.path().with_extension("away"));
    std::fs::rename(here, &away).unwrap();
    let told = desk.api.reload().await;
    std::fs::rename(&away, here).unwrap();
    assert!(told.len() == 1 && told[0].contains("ADMIN_TOKEN_FILE"), "{told:?}");
    // Nor does a link that leads nowhere.
    std::fs::remove_file(&file).unwrap();
    std::os::unix::fs::symlink("nowhere", &file).unwrap();
    assert_eq!(desk.api.reload().await.len(), 1);
    assert_eq!((status(TOKEN).await, status(other).await), (401, 200));
    // A file that is deleted does.
    std::fs::remove_file(&file).unwrap();
    assert_eq!(desk.api.reload().await, [""; 0]);
    assert_eq!((status(TOKEN).await, status(other).await), (401, 401));
    assert!(
        desk.api.program.stderr().contains("\"file_deleted\""),
        "{}",
        desk.api.program.stderr()
    );
    std::fs::write(&file, other).unwrap();
    assert_eq!(desk.api.reload().await, [""; 0]);
    assert_eq!((status(TOKEN).await, status(other).await), (401, 200));
    assert!(!desk.api.program.stderr().contains(other), "the token is in the log");
}
