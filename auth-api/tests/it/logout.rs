//! GET /auth/session and POST /auth/logout.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test fails by panicking")]

use serde_json::json;
use testkit::{AuthApi, Database, Wallet};

#[tokio::test]
async fn logout_ends_the_session_at_once_and_is_idempotent() {
    let database = Database::create().await;
    let api = AuthApi::start(&database, &[]).await;
    let tokens = api.login(&Wallet::generate()).await;
    let answer = api.logout(&tokens.access).await;
    assert_eq!(answer.status, 204);
    assert_eq!(answer.headers["cache-control"], "no-store");
    api.denies(&tokens.access).await;
    api.refresh(&tokens.refresh).await.is_problem(401, "refresh_refused");
    assert_eq!(api.logout(&tokens.access).await.status, 204);
    assert_eq!(database.one::<String>("SELECT revoked_reason FROM sessions").await, "logout");
}

#[tokio::test]
async fn logout_accepts_a_refresh_token() {
    let database = Database::create().await;
    let api = AuthApi::start(&database, &[]).await;
    let tokens = api.login(&Wallet::generate()).await;
    let body = json!({ "refresh_token": tokens.refresh });
    for _ in 0..2 {
        assert_eq!(api.post("/auth/logout", &body).await.status, 204);
    }
    api.session(&tokens.access).await.is_problem(401, "unauthenticated");
    // A genuine token whose session was deleted from the table.
    database.execute("DELETE FROM sessions").await;
    assert_eq!(api.post("/auth/logout", &body).await.status, 204);

    api.post("/auth/logout", &json!({ "refresh_token": "rt_forged" }))
        .await
        .is_problem(401, "unauthenticated");
    api.send(api.client.post(format!("{}/auth/logout", api.url)))
        .await
        .is_problem(401, "unauthenticated");
    let (one, other) = (api.login(&Wallet::generate()).await, api.login(&Wallet::generate()).await);
    let both = api.client.post(format!("{}/auth/logout", api.url)).bearer_auth(&one.access);
    let answer = api.send(both.json(&json!({ "refresh_token": other.refresh }))).await;
    answer.is_problem(400, "malformed");
    assert_eq!(api.session(&one.access).await.status, 200);
    // An additional, invalid Authorization header does not prevent the logout.
    for other in ["Bearer expired", "Basic eDp5"] {
        let tokens = api.login(&Wallet::generate()).await;
        let request =
            api.client.post(format!("{}/auth/logout", api.url)).header("authorization", other);
        let answer = api.send(request.json(&json!({ "refresh_token": tokens.refresh }))).await;
        assert_eq!(answer.status, 204, "{other}");
        api.denies(&tokens.access).await;
    }
}
