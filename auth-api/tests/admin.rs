//! `/admin/*` on the operations port: who may, what is listed, what is ended.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test fails by panicking")]

use std::collections::BTreeSet;

use schema::ids::SessionId;
use serde_json::{Value, json};
use testkit::{Answer, AuthApi, Database, Wallet};

const TOKEN: &str = "operators-token-of-a-test-0123456789";

/// An API with operators.
struct Desk {
    database: Database,
    api: AuthApi,
    /// Holds the file `token`.
    directory: tempfile::TempDir,
}

impl Desk {
    async fn set() -> Self {
        Self::set_with(&[]).await
    }

    async fn set_with(more: &[(&str, &str)]) -> Self {
        let directory = tempfile::TempDir::new().unwrap();
        let file = directory.path().join("token");
        std::fs::write(&file, format!("{TOKEN}\n")).unwrap();
        let mut env = vec![("ADMIN_TOKEN_FILE", file.to_str().unwrap())];
        env.extend_from_slice(more);
        let database = Database::create().await;
        let api = AuthApi::start(&database, &env).await;
        Self { database, api, directory }
    }

    async fn ask(&self, method: &str, path: &str) -> Answer {
        let request = self.api.client.request(method.parse().unwrap(), format!("{}{path}", self.api.ops_url));
        self.api.send(request.bearer_auth(TOKEN)).await
    }

    async fn list(&self, query: &str) -> Value {
        let answer = self.ask("GET", &format!("/admin/sessions{query}")).await;
        assert_eq!(answer.status, 200, "{query}: {answer:?}");
        answer.body
    }

    async fn revoke(&self, body: &Value) -> Answer {
        let request = self.api.client.post(format!("{}/admin/sessions/revoke", self.api.ops_url));
        self.api.send(request.bearer_auth(TOKEN).json(body)).await
    }

    /// Live sessions of one account, in the order of their ids.
    async fn fill(&self, sessions: usize) -> Vec<String> {
        let account = "INSERT INTO accounts (id, issuer, subject)
            VALUES ('00000000-0000-7000-8000-000000000001', 'stellar:testnet', 'G1') ON CONFLICT DO NOTHING";
        self.database.execute(account).await;
        let ids: Vec<String> = (0..sessions).map(|_| SessionId::generate().to_string()).collect();
        self.database
            .execute(&format!(
                "INSERT INTO sessions (id, account_id, expires_at, absolute_expires_at)
                 SELECT id, '00000000-0000-7000-8000-000000000001', now() + interval '1 day', now() + interval '1 day'
                 FROM unnest('{{{}}}'::uuid[]) AS id",
                ids.join(",")
            ))
            .await;
        ids
    }

    /// The log's events of this message, once there are so many.
    async fn told(&self, message: &str, times: usize) -> Vec<Value> {
        testkit::eventually(message, async || self.api.program.log_events(message).len() >= times).await;
        self.api.program.log_events(message)
    }

    async fn live(&self) -> i64 {
        self.database.one("SELECT count(*) FROM sessions WHERE revoked_at IS NULL").await
    }
}

fn ids(listed: &Value) -> Vec<String> {
    let sessions = listed["sessions"].as_array().unwrap();
    sessions.iter().map(|session| session["id"].as_str().unwrap().to_owned()).collect()
}

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
        assert_eq!((names(&answer), &answer.body), (names(&nothing), &nothing.body), "{method} {path}");
    }
}

#[tokio::test]
async fn only_the_token_opens() {
    let desk = Desk::set().await;
    let get = |path: &str| desk.api.client.get(format!("{}{path}", desk.api.ops_url));
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
            assert_eq!(answer.headers["www-authenticate"], "Bearer", "{authorization:?}");
        }
    }
    let twice = get("/admin/sessions").bearer_auth(TOKEN).header("Authorization", format!("Bearer {TOKEN}"));
    desk.api.send(twice).await.is_problem(401, "unauthenticated");
    // A user's credential is none of an operator.
    let user = desk.api.login(&Wallet::generate()).await;
    desk.api.send(get("/admin/sessions").bearer_auth(&user.access)).await.is_problem(401, "unauthenticated");

    let answer = desk.api.send(get("/admin/sessions").header("Authorization", format!("bearer {TOKEN}"))).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.headers["cache-control"], "no-store");
    // The audit event belongs to the request.
    desk.told("sessions were listed", 1).await;
    let (log, id) = (desk.api.program.stderr(), answer.headers["x-request-id"].to_str().unwrap().to_owned());
    let listed = log.lines().find(|line| line.contains("admin_list")).unwrap();
    assert!(listed.contains(&id) && listed.contains("\"/admin/sessions\""), "{listed}");
    desk.ask("GET", "/admin/nothing").await.is_problem(404, "not_found");
    let answer = desk.ask("POST", "/admin/sessions").await;
    answer.is_problem(405, "method_not_allowed");
    assert_eq!(answer.headers["allow"], "GET");
    desk.ask("GET", "/admin/sessions/revoke").await.is_problem(405, "method_not_allowed");
    // Not on the API's port, whoever asks.
    let public = desk.api.client.get(format!("{}/admin/sessions", desk.api.url)).bearer_auth(TOKEN);
    desk.api.send(public).await.is_problem(404, "not_found");

    let times = refused.len() * 3 + 2;
    let told = desk.told("an operator's request was refused", times).await;
    assert_eq!(told.len(), times);
    assert_eq!((&told[0]["event"], &told[0]["reason"]), (&json!("admin_refused"), &json!("no token")));
    assert_eq!((&told[0]["ip"], &told[1]["route"]), (&json!("127.0.0.1"), &json!("/admin/sessions")));
    assert_eq!(told.last().unwrap()["reason"], "another token");
    assert!(!desk.api.program.stderr().contains(TOKEN), "the token is in the log");
}

#[tokio::test]
async fn the_token_is_read_again_at_sighup_and_what_cannot_be_used_changes_nothing() {
    let desk = Desk::set().await;
    let file = desk.directory.path().join("token");
    let other = "another-token-of-the-operators-0123456789";
    let status = async |token: &str| {
        let request = desk.api.client.get(format!("{}/admin/sessions", desk.api.ops_url));
        desk.api.send(request.bearer_auth(token)).await.status.as_u16()
    };
    std::fs::write(&file, other).unwrap();
    assert_eq!((status(TOKEN).await, status(other).await), (200, 401), "not before SIGHUP");
    assert_eq!(desk.api.reload().await, [""; 0]);
    assert_eq!((status(TOKEN).await, status(other).await), (401, 200));
    std::fs::write(&file, "short").unwrap();
    let told = desk.api.reload().await;
    assert!(told.len() == 1 && told[0].contains("ADMIN_TOKEN_FILE") && told[0].contains("shorter"), "{told:?}");
    std::fs::remove_file(&file).unwrap();
    let told = desk.api.reload().await;
    assert!(told.len() == 1 && told[0].contains("ADMIN_TOKEN_FILE"), "{told:?}");
    assert_eq!((status(TOKEN).await, status(other).await), (401, 200));
    assert!(!desk.api.program.stderr().contains(other), "the token is in the log");
}

#[tokio::test]
async fn a_session_is_told_with_its_account() {
    let desk = Desk::set().await;
    let wallet = Wallet::generate();
    let message = desk.api.challenge(&wallet).await;
    let body = json!({ "message": message, "signature": wallet.sign(&message) });
    let login = desk.api.client.post(format!("{}/auth/login", desk.api.url)).header("User-Agent", "wallet/1 (x)");
    let tokens = desk.api.send(login.json(&body)).await.tokens();
    let listed = desk.list("").await;
    let own = desk.api.session(&tokens.access).await.body;
    let expected = json!({
        "id": tokens.session_id, "transport": "token", "device": "wallet/1", "user_agent": "wallet/1 (x)",
        "ip": "127.0.0.1", "created_at": own["session"]["created_at"], "last_seen_at": own["session"]["last_seen_at"],
        "expires_at": own["session"]["expires_at"], "account": own["account"],
    });
    assert_eq!(listed, json!({ "sessions": [expected], "next": null }));
    let told = desk.told("sessions were listed", 1).await;
    let expected = json!({
        "message": "sessions were listed", "event": "admin_list", "who": "admin", "via": "http", "order": "newest",
        "filters": "all", "sessions": 1, "ip": "127.0.0.1",
    });
    assert_eq!(told, [expected]);
}

#[tokio::test]
async fn pages_tell_each_session_once_also_while_some_begin_and_end() {
    let desk = Desk::set().await;
    let mut filled = desk.fill(450).await;
    assert_eq!(ids(&desk.list("").await).len(), 200, "the default");
    filled.reverse();
    let (mut seen, mut after, mut gone) = (Vec::new(), String::new(), BTreeSet::new());
    loop {
        let page = desk.list(&format!("?limit=100{after}")).await;
        seen.extend(ids(&page));
        let Some(next) = page["next"].as_str() else { break };
        assert_eq!(Some(next), seen.last().map(String::as_str));
        after = format!("&after={next}");
        // One of those to come ends, and so does the one where the next page begins; others begin.
        let at = filled.iter().position(|id| id == next).unwrap();
        for id in [at, at + 50].iter().filter_map(|at| filled.get(*at)) {
            desk.database.execute(&format!("UPDATE sessions SET revoked_at = now() WHERE id = '{id}'")).await;
            gone.insert(id.clone());
        }
        desk.fill(7).await;
    }
    let unread: BTreeSet<_> = gone.iter().filter(|id| !seen.contains(id)).collect();
    assert_eq!(unread.len(), 3);
    let expected: Vec<_> = filled.iter().filter(|id| !unread.contains(id)).cloned().collect();
    assert_eq!(seen, expected, "in order, each once, none that is over, none that is new");
    // A page that is full and the last says so.
    let live = usize::try_from(desk.live().await).unwrap();
    assert_eq!(desk.list(&format!("?limit={live}")).await["next"], Value::Null);
    assert_ne!(desk.list(&format!("?limit={}", live - 1)).await["next"], Value::Null);
}

#[tokio::test]
async fn each_filter_leaves_what_it_says() {
    let desk = Desk::set().await;
    let (one, other) = (Wallet::generate(), Wallet::generate());
    let old = desk.api.login(&one).await.session_id;
    let young = desk.api.login(&one).await.session_id;
    let foreign = desk.api.login(&other).await.session_id;
    desk.api.cookie_login(&other).await;
    let cookie: String = desk.database.one("SELECT id::text FROM sessions WHERE token_hash IS NOT NULL").await;
    desk.database
        .execute(&format!(
            "UPDATE sessions SET created_at = now() - interval '40 days', ip = '2001:db8::7' WHERE id = '{old}';
             UPDATE sessions SET created_at = now() - interval '2 days', ip = '203.0.113.9' WHERE id = '{foreign}';
             UPDATE sessions SET ip = NULL WHERE id = '{cookie}'"
        ))
        .await;
    let account: String =
        desk.database.one(&format!("SELECT id::text FROM accounts WHERE subject = '{}'", other.address())).await;
    let boundary: String =
        desk.database.one(&format!("SELECT to_json(created_at)::text FROM sessions WHERE id = '{foreign}'")).await;
    let boundary = boundary.trim_matches('"').replace('+', "%2B");
    let (old, young, foreign, cookie) = (old.as_str(), young.as_str(), foreign.as_str(), cookie.as_str());
    let address = one.address();
    let cases: Vec<(String, Vec<&str>)> = vec![
        (String::new(), vec![cookie, foreign, young, old]),
        (format!("?account={address}"), vec![young, old]),
        (format!("?account={account}"), vec![cookie, foreign]),
        (format!("?account={}", Wallet::generate().address()), vec![]),
        ("?ip=127.0.0.1".into(), vec![young]),
        ("?ip=203.0.113.0/24".into(), vec![foreign]),
        ("?ip=203.0.113.99/24".into(), vec![foreign]),
        ("?ip=::ffff:203.0.113.9".into(), vec![foreign]),
        ("?ip=0.0.0.0/0".into(), vec![foreign, young]),
        ("?ip=2001:db8::/32".into(), vec![old]),
        ("?ip=198.51.100.1".into(), vec![]),
        ("?transport=cookie".into(), vec![cookie]),
        ("?transport=token".into(), vec![foreign, young, old]),
        ("?older_than=1d".into(), vec![foreign, old]),
        ("?older_than=30d".into(), vec![old]),
        ("?younger_than=30d".into(), vec![cookie, foreign, young]),
        ("?younger_than=1h".into(), vec![cookie, young]),
        ("?older_than=1d&younger_than=30d".into(), vec![foreign]),
        (format!("?created_before={boundary}"), vec![old]),
        (format!("?account={address}&older_than=1d&transport=token"), vec![old]),
        (format!("?account={account}&transport=cookie&order=newest&limit=1"), vec![cookie]),
    ];
    for (query, expected) in cases {
        assert_eq!(ids(&desk.list(&query).await), expected, "{query}");
        let by_activity = if query.is_empty() { "?order=activity".into() } else { query.replace("newest", "activity") };
        let found: BTreeSet<_> = ids(&desk.list(&by_activity).await).into_iter().collect();
        assert_eq!(found, expected.into_iter().map(str::to_owned).collect(), "{by_activity}");
    }
    // Neither what has expired or ended, nor what belongs to a disabled account, is live.
    desk.database
        .execute(&format!(
            "UPDATE sessions SET expires_at = now() WHERE id = '{old}'; UPDATE sessions SET revoked_at = now() WHERE id = '{young}';
             UPDATE accounts SET disabled_at = now() WHERE id = '{account}'"
        ))
        .await;
    assert_eq!(desk.list("").await, json!({ "sessions": [], "next": null }));
    assert_eq!(desk.list("?order=activity").await, json!({ "sessions": [], "next": null }));
}

#[tokio::test]
async fn by_activity_is_what_was_used_last() {
    let desk = Desk::set().await;
    let wallet = Wallet::generate();
    let (first, second) = (desk.api.login(&wallet).await, desk.api.login(&wallet).await);
    let cookie = desk.api.cookie_login(&wallet).await;
    let third: String = desk.database.one("SELECT id::text FROM sessions WHERE token_hash IS NOT NULL").await;
    desk.database
        .execute(
            "UPDATE sessions SET created_at = created_at - interval '1 hour', last_seen_at = last_seen_at - interval '1 hour';
             UPDATE token_families SET rotated_at = rotated_at - interval '1 hour'",
        )
        .await;
    let order = async || ids(&desk.list("?order=activity").await);
    assert_eq!(order().await, [third.as_str(), &second.session_id, &first.session_id]);
    assert_eq!(desk.api.refresh(&first.refresh).await.status, 200);
    assert_eq!(order().await, [first.session_id.as_str(), &third, &second.session_id], "a rotation");
    assert_eq!(desk.api.with_cookie("GET", "/auth/session", &cookie).await.status, 200);
    testkit::eventually("a touch is activity", async || {
        order().await == [third.as_str(), &first.session_id, &second.session_id]
    })
    .await;
    assert_eq!(ids(&desk.list("?order=activity&limit=1").await), [third.as_str()]);
    let newest = desk.list("").await;
    assert_eq!(ids(&newest), [third.as_str(), &second.session_id, &first.session_id], "which is another order");
    desk.fill(300).await;
    let listed = desk.list("?order=activity").await;
    assert_eq!((ids(&listed).len(), &listed["next"]), (200, &Value::Null));
}

#[tokio::test]
async fn what_makes_no_sense_is_told_with_its_field() {
    let desk = Desk::set().await;
    desk.fill(1).await;
    for (query, field) in [
        ("?limit=0", "limit"),
        ("?limit=1001", "limit"),
        ("?limit=-1", "limit"),
        ("?limit=many", "limit"),
        ("?limit=", "limit"),
        ("?limit=1&limit=2", "limit"),
        ("?order=activity&limit=201", "limit"),
        ("?order=oldest", "order"),
        ("?after=1", "after"),
        ("?order=activity&after=0197f0a2-7c3e-7d10-9c55-0d0c6d8d3a7e", "after"),
        ("?account=somebody", "account"),
        ("?account=MA7QYNF7SOWQ3GLR2BGMZEHXAVIRZA4KVWLTJJFC7MGXUA74P7UJUAAAAAAAAAAAACJUQ", "account"),
        ("?account=", "account"),
        ("?ip=localhost", "ip"),
        ("?ip=203.0.113.0/33", "ip"),
        ("?ip=", "ip"),
        ("?transport=Token", "transport"),
        ("?older_than=30", "older_than"),
        ("?older_than=-1d", "older_than"),
        ("?younger_than=tomorrow", "younger_than"),
        ("?younger_than=99999999999y", "younger_than"),
        ("?older_than=500000y", "older_than"),
        ("?created_before=2026-11-21", "created_before"),
        ("?created_before=", "created_before"),
        ("?wallet=x", "wallet"),
        ("?dry_run=true", "dry_run"),
    ] {
        let answer = desk.ask("GET", &format!("/admin/sessions{query}")).await;
        answer.is_problem(400, "malformed");
        assert_eq!(answer.body["field"], field, "{query}: {answer:?}");
    }
    for (body, field) in [
        (json!({}), "dry_run"),
        (json!({ "all": true }), "dry_run"),
        (json!({ "all": true, "dry_run": "false" }), "dry_run"),
        (json!({ "dry_run": false }), "all"),
        (json!({ "dry_run": false, "all": false }), "all"),
        (json!({ "dry_run": false, "all": true, "transport": "token" }), "all"),
        (json!({ "dry_run": false, "all": null }), "all"),
        (json!({ "dry_run": false, "transport": "carrier pigeon" }), "transport"),
        (json!({ "dry_run": false, "transport": 1 }), "transport"),
        (json!({ "dry_run": false, "older_than": 30 }), "older_than"),
        (json!({ "dry_run": false, "younger_than": "soon" }), "younger_than"),
        (json!({ "dry_run": false, "ip": "10.0.0.0/99" }), "ip"),
        (json!({ "dry_run": false, "account": "me" }), "account"),
        (json!({ "dry_run": false, "created_before": "yesterday" }), "created_before"),
        (json!({ "dry_run": false, "all": true, "limit": 1 }), "limit"),
    ] {
        let answer = desk.revoke(&body).await;
        answer.is_problem(400, "malformed");
        assert_eq!(answer.body["field"], field, "{body}: {answer:?}");
    }
    for (method, path) in [
        ("DELETE", "/admin/sessions/1"),
        ("DELETE", "/admin/sessions/0197f0a2-7c3e-7d10-9c55-0d0c6d8d3a7e"),
        ("DELETE", "/admin/accounts/somebody/sessions"),
        ("DELETE", "/admin/accounts/0197f0a2-7c3e-7d10-9c55-0d0c6d8d3a7e/sessions"),
        ("DELETE", "/admin/accounts/GBXFXNDLV4LSWA4VB7YIL5GBD7BVNR22SGBTDKMO2SBZZHDXSKZYCP7L/sessions"),
    ] {
        desk.ask(method, path).await.is_problem(404, "not_found");
    }
    let plain = desk.api.client.post(format!("{}/admin/sessions/revoke", desk.api.ops_url)).bearer_auth(TOKEN);
    desk.api.send(plain.body("{}")).await.is_problem(415, "unsupported_media_type");
    assert_eq!(desk.live().await, 1);
}

#[tokio::test]
async fn a_list_that_takes_too_long_is_given_up() {
    let desk = Desk::set().await;
    desk.fill(3).await;
    let mut other = desk.database.client().await;
    let migration = other.transaction().await.unwrap();
    migration.batch_execute("LOCK TABLE sessions IN ACCESS EXCLUSIVE MODE").await.unwrap();
    for query in ["", "?order=activity"] {
        let answer = desk.ask("GET", &format!("/admin/sessions{query}")).await;
        answer.is_problem(503, "unavailable");
        assert!(answer.body["detail"].as_str().unwrap().contains("Ask for less"), "{answer:?}");
        assert!(answer.headers.contains_key("retry-after"));
    }
    migration.rollback().await.unwrap();
    assert_eq!(ids(&desk.list("").await).len(), 3);
}

#[tokio::test]
async fn one_session_is_ended_everywhere_at_once() {
    let desk = Desk::set().await;
    let replica =
        AuthApi::start_with_keys(&desk.database, desk.api.copy_of_keys(), &[("REDIS_PREFIX", &desk.api.redis_prefix)])
            .await;
    let wallet = Wallet::generate();
    let (ended, kept) = (desk.api.login(&wallet).await, desk.api.login(&wallet).await);
    let path = format!("/admin/sessions/{}", ended.session_id);
    let answer = desk.ask("DELETE", &path).await;
    assert_eq!((answer.status.as_u16(), answer.body), (204, json!("")));
    desk.api.denies(&ended.access).await;
    replica.denies(&ended.access).await;
    replica.refresh(&ended.refresh).await.is_problem(401, "refresh_refused");
    assert_eq!(replica.session(&kept.access).await.status, 200);
    desk.ask("DELETE", &path).await.is_problem(404, "not_found");
    let reason = "SELECT revoked_reason FROM sessions WHERE revoked_at IS NOT NULL";
    assert_eq!(desk.database.one::<String>(reason).await, "admin");
    // What has expired is over already.
    desk.database.execute("UPDATE sessions SET expires_at = now()").await;
    desk.ask("DELETE", &format!("/admin/sessions/{}", kept.session_id)).await.is_problem(404, "not_found");
}

#[tokio::test]
async fn all_sessions_of_an_account_end_and_it_may_log_in_again() {
    let desk = Desk::set().await;
    let (wallet, other) = (Wallet::generate(), Wallet::generate());
    let (first, second) = (desk.api.login(&wallet).await, desk.api.login(&wallet).await);
    let others = desk.api.login(&other).await;
    let answer = desk.ask("DELETE", &format!("/admin/accounts/{}/sessions", wallet.address())).await;
    assert_eq!((answer.status.as_u16(), answer.body), (200, json!({ "revoked": 2 })));
    desk.api.denies(&first.access).await;
    desk.api.denies(&second.access).await;
    assert_eq!(desk.api.session(&others.access).await.status, 200);
    let again = desk.api.login(&wallet).await;
    let id = desk.api.session(&again.access).await.body["account"]["id"].as_str().unwrap().to_owned();
    let answer = desk.ask("DELETE", &format!("/admin/accounts/{id}/sessions")).await;
    assert_eq!(answer.body, json!({ "revoked": 1 }));
    let answer = desk.ask("DELETE", &format!("/admin/accounts/{id}/sessions")).await;
    assert_eq!(answer.body, json!({ "revoked": 0 }));
}

#[tokio::test]
async fn what_matches_ends_everywhere_at_once_and_a_dry_run_ends_nothing() {
    let desk = Desk::set().await;
    let replica =
        AuthApi::start_with_keys(&desk.database, desk.api.copy_of_keys(), &[("REDIS_PREFIX", &desk.api.redis_prefix)])
            .await;
    let (one, other) = (Wallet::generate(), Wallet::generate());
    let (first, second) = (desk.api.login(&one).await, desk.api.login(&other).await);
    let third = replica.login(&other).await;
    desk.database.execute(&format!("UPDATE sessions SET ip = '203.0.113.9' WHERE id <> '{}'", third.session_id)).await;
    let rows = "SELECT string_agg(s::text, ' ' ORDER BY id) FROM sessions s";
    let before: String = desk.database.one(rows).await;
    let network = json!({ "ip": "203.0.113.0/24", "dry_run": true });
    assert_eq!(desk.revoke(&network).await.body, json!({ "matched": 2, "revoked": 0, "dry_run": true }));
    let all = json!({ "all": true, "dry_run": true });
    assert_eq!(desk.revoke(&all).await.body, json!({ "matched": 3, "revoked": 0, "dry_run": true }));
    assert_eq!(desk.database.one::<String>(rows).await, before);

    let answer = desk.revoke(&json!({ "ip": "203.0.113.0/24", "dry_run": false })).await;
    assert_eq!(answer.body, json!({ "matched": 2, "revoked": 2, "dry_run": false }), "{answer:?}");
    for tokens in [&first, &second] {
        desk.api.denies(&tokens.access).await;
        replica.denies(&tokens.access).await;
        replica.refresh(&tokens.refresh).await.is_problem(401, "refresh_refused");
    }
    assert_eq!(desk.api.session(&third.access).await.status, 200);
    assert_eq!(replica.session(&third.access).await.status, 200);
    assert!((desk.api.metric("auth_api_sessions_revoked_total{reason=\"admin\"}").await - 2.0).abs() < f64::EPSILON);

    // Of a disabled account, too: it may be enabled again.
    desk.database.execute("UPDATE accounts SET disabled_at = now()").await;
    let answer = desk.revoke(&json!({ "account": other.address(), "dry_run": false })).await;
    assert_eq!(answer.body, json!({ "matched": 1, "revoked": 1, "dry_run": false }));

    let event = |filters: &str, matched: u8, revoked: u8, dry_run: bool| {
        json!({
            "message": "an operator revoked sessions", "event": "admin_revoke", "who": "admin", "via": "http",
            "filters": filters, "matched": matched, "revoked": revoked, "dry_run": dry_run, "ip": "127.0.0.1",
        })
    };
    let expected = [
        event("ip=203.0.113.0/24", 2, 0, true),
        event("all", 3, 0, true),
        event("ip=203.0.113.0/24", 2, 2, false),
        event(&format!("account={}", other.address()), 1, 1, false),
    ];
    assert_eq!(desk.told("an operator revoked sessions", 4).await, expected);
    let revoked = desk.told("a session was revoked", 3).await;
    assert_eq!(revoked.len(), 3);
    assert!(revoked.iter().all(|event| event["reason"] == "admin"), "{revoked:?}");
}

#[tokio::test]
async fn many_sessions_end_over_many_chunks_and_stretches() {
    let desk = Desk::set().await;
    desk.fill(1).await;
    // More than two stretches, of which every tenth row is of another address, and some are over.
    desk.database
        .execute(
            "INSERT INTO sessions (id, account_id, ip, expires_at, absolute_expires_at, revoked_at)
             SELECT gen_random_uuid(), a.id, CASE WHEN i % 10 = 0 THEN inet '10.1.2.3' ELSE '10.9.9.9' END,
                 t.at, t.at, CASE WHEN i % 50 = 0 THEN now() END
             FROM generate_series(1, 12000) i, accounts a,
                 LATERAL (SELECT now() + CASE WHEN i % 40 = 0 THEN interval '-1 hour' ELSE interval '1 hour' END AS at) t",
        )
        .await;
    let standing = "SELECT count(*) FROM sessions WHERE revoked_at IS NULL AND expires_at > now()";
    let of_ip: i64 = desk.database.one(&format!("{standing} AND ip <<= '10.1.0.0/16'")).await;
    let all: i64 = desk.database.one(standing).await;
    assert!(of_ip > 500 && all > 10_000);
    let answer = desk.revoke(&json!({ "ip": "10.1.0.0/16", "dry_run": true })).await;
    assert_eq!(answer.body, json!({ "matched": of_ip, "revoked": 0, "dry_run": true }));
    let answer = desk.revoke(&json!({ "ip": "10.1.0.0/16", "dry_run": false })).await;
    assert_eq!(answer.body, json!({ "matched": of_ip, "revoked": of_ip, "dry_run": false }));
    assert_eq!(desk.database.one::<i64>(standing).await, all - of_ip);
    let answer = desk.revoke(&json!({ "all": true, "dry_run": false })).await;
    assert_eq!(answer.body, json!({ "matched": all - of_ip, "revoked": all - of_ip, "dry_run": false }));
    assert_eq!(desk.database.one::<i64>(standing).await, 0);
}

#[tokio::test]
async fn a_revocation_that_stops_half_way_says_how_far_it_came() {
    let desk = Desk::set_with(&[("DATABASE_STATEMENT_TIMEOUT", "1s")]).await;
    let mut filled = desk.fill(600).await;
    filled.sort_unstable();
    let mut other = desk.database.client().await;
    let holding = other.transaction().await.unwrap();
    let hold = format!("SELECT FROM sessions WHERE id = '{}' FOR UPDATE", filled[599]);
    holding.batch_execute(&hold).await.unwrap();
    let answer = desk.revoke(&json!({ "all": true, "dry_run": false })).await;
    answer.is_problem(503, "unavailable");
    assert!(answer.body["detail"].as_str().unwrap().contains("500 sessions are revoked"), "{answer:?}");
    assert_eq!(desk.live().await, 100);
    let told = desk.told("an operator revoked sessions", 1).await;
    assert_eq!((&told[0]["matched"], &told[0]["revoked"]), (&json!(600), &json!(500)));
    holding.rollback().await.unwrap();
    let answer = desk.revoke(&json!({ "all": true, "dry_run": false })).await;
    assert_eq!(answer.body, json!({ "matched": 100, "revoked": 100, "dry_run": false }));
}

#[tokio::test]
async fn what_refreshes_meanwhile_is_ended_all_the_same() {
    let desk = Desk::set().await;
    let mut sessions = Vec::new();
    for _ in 0..8 {
        sessions.push(desk.api.login(&Wallet::generate()).await);
    }
    // Each goes on refreshing until it may not any more.
    let refreshing = sessions.into_iter().map(async |mut tokens| {
        loop {
            let answer = desk.api.refresh(&tokens.refresh).await;
            if answer.status == 401 {
                break tokens;
            }
            tokens = answer.tokens();
        }
    });
    let everything = json!({ "all": true, "dry_run": false });
    let (last, answer) = tokio::join!(futures_util::future::join_all(refreshing), desk.revoke(&everything));
    assert_eq!(answer.body, json!({ "matched": 8, "revoked": 8, "dry_run": false }));
    for tokens in last {
        desk.api.denies(&tokens.access).await;
    }
    let reasons = "SELECT string_agg(DISTINCT revoked_reason, ' ') FROM sessions";
    assert_eq!(desk.database.one::<String>(reasons).await, "admin");
}

#[tokio::test]
async fn an_operator_who_hangs_up_does_not_stop_it() {
    let desk = Desk::set_with(&[("DATABASE_STATEMENT_TIMEOUT", "1m")]).await;
    let mut filled = desk.fill(1200).await;
    filled.sort_unstable();
    let mut other = desk.database.client().await;
    let holding = other.transaction().await.unwrap();
    holding.batch_execute(&format!("SELECT FROM sessions WHERE id = '{}' FOR UPDATE", filled[700])).await.unwrap();
    let observer = desk.database.client().await;
    let everything = json!({ "all": true, "dry_run": false });
    tokio::select! {
        answer = desk.revoke(&everything) => assert_eq!(answer.status, 0, "it has not waited for the lock"),
        () = testkit::waits_for_a_lock(&observer, "auth-api") => {}
    }
    assert_eq!(desk.live().await, 700);
    holding.rollback().await.unwrap();
    let told = desk.told("an operator revoked sessions", 1).await;
    assert_eq!((&told[0]["matched"], &told[0]["revoked"]), (&json!(1200), &json!(1200)));
    assert_eq!(desk.live().await, 0);
}
