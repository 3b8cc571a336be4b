//! `STEP_UP_AGE`: operations that require a recent login (RFC 9470), and `auth_time`, the time of
//! the login.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test fails by panicking")]

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use testkit::{Answer, AuthApi, Database, Service, Wallet};

const STEP_UP: [(&str, &str); 1] = [("STEP_UP_AGE", "5m")];

/// Moves all logins back by six minutes.
async fn six_minutes_later(database: &Database) {
    database.execute("UPDATE sessions SET created_at = created_at - interval '6 minutes'").await;
}

fn needs_a_recent_login(answer: &Answer) {
    answer.is_problem(401, "insufficient_user_authentication");
    let challenge = answer.headers["www-authenticate"].to_str().unwrap();
    assert!(
        challenge.starts_with(r#"Bearer error="insufficient_user_authentication""#),
        "{challenge}"
    );
    assert!(challenge.contains(r#"max_age="300""#), "{challenge}");
}

async fn live(database: &Database) -> i64 {
    database.one("SELECT count(*) FROM sessions WHERE revoked_at IS NULL").await
}

fn claims(access_token: &str) -> Value {
    let payload = access_token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

#[tokio::test]
async fn ending_other_sessions_requires_a_recent_login() {
    let database = Database::create().await;
    let api = AuthApi::start(&database, &STEP_UP).await;
    let wallet = Wallet::generate();
    let (old, other) = (api.login(&wallet).await, api.login(&wallet).await);
    let cookie = api.cookie_login(&wallet).await;
    six_minutes_later(&database).await;
    // A refresh is not a login.
    let old = api.refresh(&old.refresh).await.tokens();
    let one = format!("/auth/sessions/{}", other.session_id);
    for path in [
        one.as_str(),
        "/auth/sessions",
        "/auth/sessions?except=current",
        "/auth/sessions/unknown-but-no-uuid",
    ] {
        let answer = api.with_token("DELETE", path, &old.access).await;
        if path.ends_with("uuid") {
            answer.is_problem(404, "not_found");
        } else {
            needs_a_recent_login(&answer);
            needs_a_recent_login(&api.with_cookie("DELETE", path, &cookie).await);
        }
    }
    assert_eq!(live(&database).await, 3);
    // The response does not reveal whether the session exists.
    let unknown = format!("/auth/sessions/{}", uuid::Uuid::from_u128(7));
    needs_a_recent_login(&api.with_token("DELETE", &unknown, &old.access).await);

    // Everything else works: users can end their own session, and a new login can end the others.
    assert_eq!(api.session(&old.access).await.status, 200);
    assert_eq!(api.with_cookie("GET", "/auth/sessions", &cookie).await.status, 200);
    let own = format!("/auth/sessions/{}", old.session_id);
    assert_eq!(api.with_token("DELETE", &own, &old.access).await.status, 204);
    assert_eq!(api.with_cookie("POST", "/auth/logout", &cookie).await.status, 204);
    let fresh = api.login(&wallet).await;
    assert_eq!(api.with_token("DELETE", &one, &fresh.access).await.status, 204);
    assert_eq!(api.with_token("DELETE", "/auth/sessions", &fresh.access).await.status, 200);
    assert_eq!(live(&database).await, 0);
}

#[tokio::test]
async fn login_of_any_age_suffices_without_step_up() {
    for env in [&[][..], &[("STEP_UP_AGE", "off")], &[("STEP_UP_AGE", "")]] {
        let database = Database::create().await;
        let api = AuthApi::start(&database, env).await;
        let wallet = Wallet::generate();
        let (old, _) = (api.login(&wallet).await, api.login(&wallet).await);
        database.execute("UPDATE sessions SET created_at = created_at - interval '20 days'").await;
        assert_eq!(
            api.with_token("DELETE", "/auth/sessions?except=current", &old.access).await.body["revoked"],
            1
        );
    }
}

#[tokio::test]
async fn auth_time_stays_the_login_time_across_rotations() {
    let database = Database::create().await;
    let service = Service::add().await;
    let api = AuthApi::start(&database, &[service.env()]).await;
    let first = api.login(&Wallet::generate()).await;
    six_minutes_later(&database).await;
    let login: i64 =
        database.one("SELECT floor(extract(epoch FROM created_at))::bigint FROM sessions").await;
    let next = api.refresh(&first.refresh).await.tokens();
    let retry = api.refresh(&first.refresh).await.tokens();
    for tokens in [&next, &retry] {
        let claims = claims(&tokens.access);
        assert_eq!(claims["auth_time"], login, "{claims}");
        assert!(claims["iat"].as_i64().unwrap() >= login + 360);
        assert_eq!(api.introspect(&service, &tokens.access).await.body["auth_time"], login);
    }
    assert_eq!(api.introspect(&service, &next.refresh).await.body["auth_time"], login);
    let session = api.session(&next.access).await.body["session"].clone();
    assert_eq!(session["auth_time"], session["created_at"]);
    let listed = api.with_token("GET", "/auth/sessions", &next.access).await;
    assert_eq!(listed.body["sessions"], json!([session]));
}
