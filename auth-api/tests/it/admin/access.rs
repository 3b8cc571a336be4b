//! Access control: the operator token, and the routes that exist only if a token is configured.

use serde_json::json;
use testkit::{Answer, AuthApi, Database, Wallet};

use crate::admin::admin_api::{AdminApi, TOKEN};

#[tokio::test]
async fn admin_routes_are_404_without_a_token_file() {
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
async fn admin_routes_require_the_operator_token() {
    let admin = AdminApi::start().await;
    let get = |path: &str| admin.api.client.get(admin.api.admin(path));
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
            let answer = admin.api.send(request).await;
            answer.is_problem(401, "unauthenticated");
            // RFC 6750 §3.1: the challenge contains an error only if the request had a token.
            let token =
                authorization.as_ref().is_some_and(|value| value.trim().starts_with("Bearer "));
            let challenge = if token { r#"Bearer error="invalid_token""# } else { "Bearer" };
            assert_eq!(answer.headers["www-authenticate"], challenge, "{authorization:?}");
        }
    }
    let twice = get("/admin/sessions")
        .bearer_auth(TOKEN)
        .header("Authorization", format!("Bearer {TOKEN}"));
    admin.api.send(twice).await.is_problem(401, "unauthenticated");
    // A user's access token does not authenticate an operator.
    let user = admin.api.login(&Wallet::generate()).await;
    admin
        .api
        .send(get("/admin/sessions").bearer_auth(&user.access))
        .await
        .is_problem(401, "unauthenticated");

    let answer = admin
        .api
        .send(get("/admin/sessions").header("Authorization", format!("bearer {TOKEN}")))
        .await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.headers["cache-control"], "no-store");
    // Every port sends this header.
    assert_eq!(answer.headers["x-content-type-options"], "nosniff");
    assert!(
        answer.headers["content-security-policy"].to_str().unwrap().contains("default-src 'none'"),
        "{answer:?}"
    );
    // The audit event has the id and the route of the request.
    admin.logged("admin_list", 1).await;
    let (log, id) =
        (admin.api.program.stderr(), answer.headers["x-request-id"].to_str().unwrap().to_owned());
    let listed = log.lines().find(|line| line.contains("admin_list")).unwrap();
    assert!(listed.contains(&id) && listed.contains("\"/admin/sessions\""), "{listed}");
    admin.send("GET", "/admin/nothing").await.is_problem(404, "not_found");
    let answer = admin.send("POST", "/admin/sessions").await;
    answer.is_problem(405, "method_not_allowed");
    assert_eq!(answer.headers["allow"], "GET");
    admin.send("GET", "/admin/sessions/revoke").await.is_problem(405, "method_not_allowed");
    // The API port and the operations port do not serve admin routes, even with the token.
    for url in [&admin.api.url, &admin.api.ops_url] {
        let elsewhere = admin.api.client.get(format!("{url}/admin/sessions")).bearer_auth(TOKEN);
        admin.api.send(elsewhere).await.is_problem(404, "not_found");
    }
    for path in ["/metrics", "/livez", "/readyz"] {
        admin.send("GET", path).await.is_problem(404, "not_found");
    }
    // DNS rebinding: a request with an unknown Host is rejected, even with the token.
    let rebound = get("/admin/sessions").bearer_auth(TOKEN).header("Host", "rebound.example");
    admin.api.send(rebound).await.is_problem(421, "misdirected");
    let large = get("/admin/sessions").bearer_auth(TOKEN).header("x", "x".repeat(17_000));
    assert_eq!(admin.api.send(large).await.status, 431, "MAX_HEAD_SIZE applies to this port, too");

    let times = refused.len() * 3 + 2;
    let events = admin.logged("admin_refused", times).await;
    assert_eq!(events.len(), times);
    assert_eq!(
        (&events[0]["event"], &events[0]["reason"]),
        (&json!("admin_refused"), &json!("no token"))
    );
    assert_eq!(
        (&events[0]["ip"], &events[1]["route"]),
        (&json!("127.0.0.1"), &json!("/admin/sessions"))
    );
    assert_eq!(events.last().unwrap()["reason"], "another token");
    assert!(!admin.api.program.stderr().contains(TOKEN), "the log contains the token");
}

#[tokio::test]
async fn operator_token_is_reloaded_on_sighup() {
    let admin = AdminApi::start().await;
    let file = admin.directory.path().join("token");
    let other = "another-token-of-the-operators-0123456789";
    let status = async |token: &str| {
        let request = admin.api.client.get(admin.api.admin("/admin/sessions"));
        admin.api.send(request.bearer_auth(token)).await.status.as_u16()
    };
    std::fs::write(&file, other).unwrap();
    assert_eq!(
        (status(TOKEN).await, status(other).await),
        (200, 401),
        "the file is read only on SIGHUP"
    );
    assert_eq!(admin.api.reload().await, [""; 0]);
    assert_eq!((status(TOKEN).await, status(other).await), (401, 200));
    std::fs::write(&file, "short").unwrap();
    let errors = admin.api.reload().await;
    assert!(
        errors.len() == 1
            && errors[0].contains("ADMIN_TOKEN_FILE")
            && errors[0].contains("shorter"),
        "{errors:?}"
    );
    // A missing directory is an error. It does not remove the token.
    let (here, away) = (admin.directory.path(), admin.directory.path().with_extension("away"));
    std::fs::rename(here, &away).unwrap();
    let errors = admin.api.reload().await;
    std::fs::rename(&away, here).unwrap();
    assert!(errors.len() == 1 && errors[0].contains("ADMIN_TOKEN_FILE"), "{errors:?}");
    // A dangling symbolic link is an error, too.
    std::fs::remove_file(&file).unwrap();
    std::os::unix::fs::symlink("nowhere", &file).unwrap();
    assert_eq!(admin.api.reload().await.len(), 1);
    assert_eq!((status(TOKEN).await, status(other).await), (401, 200));
    // A deleted file removes the token.
    std::fs::remove_file(&file).unwrap();
    assert_eq!(admin.api.reload().await, [""; 0]);
    assert_eq!((status(TOKEN).await, status(other).await), (401, 401));
    assert!(
        admin.api.program.stderr().contains("\"file_deleted\""),
        "{}",
        admin.api.program.stderr()
    );
    std::fs::write(&file, other).unwrap();
    assert_eq!(admin.api.reload().await, [""; 0]);
    assert_eq!((status(TOKEN).await, status(other).await), (401, 200));
    assert!(!admin.api.program.stderr().contains(other), "the log contains the token");
}
