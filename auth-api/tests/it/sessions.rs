//! GET and DELETE /auth/sessions: users see and end only their own sessions.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test fails by panicking")]

use serde_json::Value;
use testkit::{Answer, AuthApi, Database, Wallet};

fn ids(answer: &Answer) -> Vec<&str> {
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body["sessions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|session| session["id"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn list_has_the_live_sessions_newest_first() {
    let database = Database::create().await;
    let api = AuthApi::start(&database, &[]).await;
    let (wallet, stranger) = (Wallet::generate(), Wallet::generate());
    let firefox =
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:140.0) Gecko/20100101 Firefox/140.0";
    let message = api.challenge(&wallet).await;
    let body = serde_json::json!({ "message": message, "signature": wallet.sign(&message) });
    let login = api
        .client
        .post(format!("{}/auth/login", api.url))
        .header("User-Agent", firefox)
        .json(&body);
    let oldest = api.send(login).await.tokens();
    let (ended, expired) = (api.login(&wallet).await, api.login(&wallet).await);
    let cookie = api.cookie_login(&wallet).await;
    let newest = api.login(&wallet).await;
    let strangers = api.login(&stranger).await;
    assert_eq!(api.logout(&ended.access).await.status, 204);
    database
        .execute(&format!(
            "UPDATE sessions SET expires_at = now() WHERE id = '{}'",
            expired.session_id
        ))
        .await;

    let by_token = api.with_token("GET", "/auth/sessions", &newest.access).await;
    let by_cookie = api.with_cookie("GET", "/auth/sessions", &cookie).await;
    let of_cookie = by_cookie.body["sessions"][1]["id"].as_str().unwrap();
    assert_eq!(ids(&by_token), [newest.session_id.as_str(), of_cookie, oldest.session_id.as_str()]);
    assert_eq!(ids(&by_token), ids(&by_cookie));
    assert_eq!(
        ids(&api.with_token("GET", "/auth/sessions", &strangers.access).await),
        [strangers.session_id.as_str()]
    );
    let current = |answer: &Answer| -> Vec<bool> {
        let sessions = answer.body["sessions"].as_array().unwrap();
        sessions.iter().map(|session| session["current"].as_bool().unwrap()).collect()
    };
    assert_eq!(current(&by_token), [true, false, false]);
    assert_eq!(current(&by_cookie), [false, true, false]);

    let session = &by_token.body["sessions"][2];
    let keys: Vec<_> = session.as_object().unwrap().keys().collect();
    let expected = [
        "auth_time",
        "created_at",
        "current",
        "device",
        "expires_at",
        "id",
        "ip",
        "last_seen_at",
        "transport",
    ];
    assert_eq!(keys, expected);
    assert_eq!(
        (&session["device"], &session["ip"]),
        (&Value::from("Firefox on Windows 10"), &Value::from("127.0.0.1"))
    );
    assert_eq!(session["last_seen_at"], session["created_at"]);
    assert_eq!(by_token.body["sessions"][1]["transport"], "cookie");

    // The last use of a token session is its last rotation.
    assert_eq!(api.refresh(&oldest.refresh).await.status, 200);
    // A rotation is visible once it is older than twice the grace period.
    database
        .execute(
            "UPDATE token_families SET rotated_at = rotated_at - interval '11 minutes', previous_rotated_at = NULL;
             UPDATE sessions SET created_at = created_at - interval '1 hour'",
        )
        .await;
    let again = api.with_token("GET", "/auth/sessions", &newest.access).await;
    let time = |session: &Value, name: &str| {
        session[name].as_str().unwrap().parse::<chrono::DateTime<chrono::Utc>>().unwrap()
    };
    let session = &again.body["sessions"][2];
    assert!(time(session, "last_seen_at") > time(session, "created_at"), "{session}");
}

#[tokio::test]
async fn list_limit_is_applied_and_validated() {
    let database = Database::create().await;
    let api = AuthApi::start(&database, &[]).await;
    let wallet = Wallet::generate();
    let mut tokens = api.login(&wallet).await;
    for _ in 0..3 {
        tokens = api.login(&wallet).await;
    }
    let list = async |query: &str| {
        api.with_token("GET", &format!("/auth/sessions{query}"), &tokens.access).await
    };
    assert_eq!(ids(&list("").await).len(), 4);
    assert_eq!(ids(&list("?limit=1").await), [tokens.session_id.as_str()]);
    assert_eq!(ids(&list("?limit=200").await).len(), 4);
    for invalid in [
        "?limit=0",
        "?limit=201",
        "?limit=-1",
        "?limit=x",
        "?limit=",
        "?limit=1&limit=2",
        "?offset=1",
        "?limit=99999999999",
    ] {
        list(invalid).await.is_problem(400, "malformed");
    }
}

#[tokio::test]
async fn users_can_end_only_their_own_sessions() {
    let database = Database::create().await;
    let api = AuthApi::start(&database, &[]).await;
    let (wallet, stranger) = (Wallet::generate(), Wallet::generate());
    let (mine, other, strangers) =
        (api.login(&wallet).await, api.login(&wallet).await, api.login(&stranger).await);
    let delete = async |id: &str| {
        api.with_token("DELETE", &format!("/auth/sessions/{id}"), &mine.access).await
    };

    let of_stranger = delete(&strangers.session_id).await;
    let unknown = delete("0197f0a2-7c3e-7d10-9c55-0d0c6d8d3a7e").await;
    let (no_id, upper) = (delete("x").await, delete(&"0".repeat(500)).await);
    for answer in [&of_stranger, &unknown, &no_id, &upper] {
        answer.is_problem(404, "not_found");
        assert_eq!(answer.body, of_stranger.body);
        let names = |answer: &Answer| {
            answer.headers.keys().map(|name| name.as_str().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(names(answer), names(&of_stranger));
    }
    assert_eq!(api.session(&strangers.access).await.status, 200);

    assert_eq!(delete(&other.session_id).await.status, 204);
    api.denies(&other.access).await;
    api.refresh(&other.refresh).await.is_problem(401, "refresh_refused");
    delete(&other.session_id).await.is_problem(404, "not_found");
    assert_eq!(delete(&mine.session_id).await.status, 204);
    api.denies(&mine.access).await;
    let reasons = "SELECT string_agg(DISTINCT revoked_reason, ' ') FROM sessions";
    assert_eq!(database.one::<String>(reasons).await, "user");
    assert!(
        (api.metric("auth_api_sessions_revoked_total{reason=\"user\"}").await - 2.0).abs()
            < f64::EPSILON
    );
}

#[tokio::test]
async fn delete_ends_all_sessions_or_all_but_the_current() {
    let database = Database::create().await;
    let api = AuthApi::start(&database, &[]).await;
    let (wallet, stranger) = (Wallet::generate(), Wallet::generate());
    let strangers = api.login(&stranger).await;
    let (first, second) = (api.login(&wallet).await, api.login(&wallet).await);
    let cookie = api.cookie_login(&wallet).await;
    let answer = api.with_token("DELETE", "/auth/sessions?except=current", &first.access).await;
    assert_eq!(
        (answer.status.as_u16(), answer.body.to_string()),
        (200, "{\"revoked\":2}".to_owned())
    );
    api.denies(&second.access).await;
    assert_eq!(api.with_cookie("GET", "/auth/session", &cookie).await.status, 401);
    assert_eq!(api.session(&first.access).await.status, 200);

    let cookie = api.cookie_login(&wallet).await;
    for invalid in ["?except=other", "?except=", "?all=1"] {
        api.with_cookie("DELETE", &format!("/auth/sessions{invalid}"), &cookie)
            .await
            .is_problem(400, "malformed");
    }
    let answer = api.with_cookie("DELETE", "/auth/sessions", &cookie).await;
    assert_eq!(
        (answer.status.as_u16(), answer.body.to_string()),
        (200, "{\"revoked\":2}".to_owned())
    );
    assert!(answer.headers["set-cookie"].to_str().unwrap().contains("Max-Age=0"), "{answer:?}");
    api.denies(&first.access).await;
    assert_eq!(api.with_cookie("GET", "/auth/session", &cookie).await.status, 401);
    assert_eq!(api.session(&strangers.access).await.status, 200);
}

#[tokio::test]
async fn logins_concurrent_with_ending_all_are_serialized() {
    let database = Database::create().await;
    let api = AuthApi::start(&database, &[("SESSION_LIMIT", "100")]).await;
    let wallet = Wallet::generate();
    for _ in 0..5 {
        let current = api.login(&wallet).await;
        let logins = futures_util::future::join_all((0..8).map(|_| api.login(&wallet)));
        let (logins, ended) =
            tokio::join!(logins, api.with_token("DELETE", "/auth/sessions", &current.access));
        let mut alive = 0;
        for tokens in &logins {
            alive += u64::from(api.session(&tokens.access).await.status == 200);
        }
        // Whatever the order of the requests, the number in the response is the number of tokens
        // that no longer work.
        assert_eq!(ended.body["revoked"].as_u64().unwrap(), 9 - alive, "{ended:?}");
        let live = "SELECT count(*) FROM sessions WHERE revoked_at IS NULL";
        assert_eq!(database.one::<i64>(live).await.unsigned_abs(), alive);
        database.execute("DELETE FROM sessions").await;
    }
}
