//! SIGHUP reloads keys, secrets and clients, and ends no sessions.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use tempfile::TempDir;
use testkit::{Answer, AuthApi, Database, Program, Service, Wallet, binary, eventually};

async fn command(args: &[&str]) -> String {
    let (code, program) = Program::run(binary("auth-api"), args, &[]).await;
    assert_eq!(code, Some(0), "{args:?}: {}", program.stderr());
    program.stdout().trim().to_owned()
}

/// Creates a key with this id.
async fn make_key(directory: &Path, kid: &str) {
    let elsewhere = TempDir::new().unwrap();
    let made = command(&["keys", "generate", "--dir", elsewhere.path().to_str().unwrap()]).await;
    fs::rename(made, directory.join(format!("{kid}.pem"))).unwrap();
}

/// Creates a directory with one key that has signed for years.
async fn old_key() -> TempDir {
    let directory = TempDir::new().unwrap();
    make_key(directory.path(), OLD).await;
    directory
}

const OLD: &str = "20200101T000000Z-old";

fn kid(access_token: &str) -> String {
    let header = URL_SAFE_NO_PAD.decode(access_token.split('.').next().unwrap()).unwrap();
    serde_json::from_slice::<Value>(&header).unwrap()["kid"].as_str().unwrap().to_owned()
}

async fn jwks(api: &AuthApi) -> (Vec<String>, Answer) {
    let answer = api.send(api.client.get(format!("{}/.well-known/jwks.json", api.url))).await;
    let keys = answer.body["keys"].as_array().unwrap();
    (keys.iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect(), answer)
}

#[tokio::test]
async fn key_is_published_before_it_signs_and_old_key_verifies() {
    let database = Database::create().await;
    let api = AuthApi::start_with_keys(&database, old_key().await, &[]).await;
    let wallet = Wallet::generate();
    let before = api.login(&wallet).await.access;
    assert_eq!(kid(&before), OLD);

    let made = command(&["keys", "rotate", "--dir", api.keys().to_str().unwrap()]).await;
    let fresh = Path::new(&made).file_stem().unwrap().to_str().unwrap().to_owned();
    assert_eq!(jwks(&api).await.0, [OLD], "files are read only on SIGHUP");
    assert_eq!(api.reload().await, [""; 0]);
    let (published, answer) = jwks(&api).await;
    assert_eq!(published, [OLD, &fresh]);
    assert_eq!(answer.headers["cache-control"], "public, max-age=300");
    assert_eq!(
        kid(&api.login(&wallet).await.access),
        OLD,
        "the new key has been published for less than ten minutes"
    );

    // Renames the key, as if it had been created eleven minutes ago.
    let ripe = format!("{}-ripe", stamp(-11));
    fs::rename(&made, api.keys().join(format!("{ripe}.pem"))).unwrap();
    assert_eq!(api.reload().await, [""; 0]);
    let after = api.login(&wallet).await.access;
    assert_eq!(kid(&after), ripe);
    for token in [&before, &after] {
        assert_eq!(api.session(token).await.status, 200);
    }
    let made_at = api
        .metric(&format!("auth_api_signing_key_created_timestamp_seconds{{kid=\"{OLD}\"}}"))
        .await;
    assert!((made_at - 1_577_836_800.0).abs() < f64::EPSILON, "{made_at}");

    fs::remove_file(api.keys().join(format!("{OLD}.pem"))).unwrap();
    assert_eq!(api.reload().await, [""; 0]);
    api.session(&before).await.is_problem(401, "unauthenticated");
    assert_eq!(api.session(&after).await.status, 200);
    assert_eq!(jwks(&api).await.0, [ripe]);
    assert!(
        api.metric(&format!("auth_api_signing_key_created_timestamp_seconds{{kid=\"{OLD}\"}}"))
            .await
            < 1.0
    );
}

#[tokio::test]
async fn spent_keys_leave_the_published_set() {
    let database = Database::create().await;
    let keys = TempDir::new().unwrap();
    make_key(keys.path(), "19400101T000000Z-a").await;
    // One key a year for 80 years, none of which was retired.
    for year in 1941..2020 {
        fs::copy(
            keys.path().join("19400101T000000Z-a.pem"),
            keys.path().join(format!("{year}0101T000000Z-a.pem")),
        )
        .unwrap();
    }
    let api = AuthApi::start_with_keys(&database, keys, &[]).await;
    let old = "20190101T000000Z-a".to_owned();
    assert_eq!(jwks(&api).await.0, std::slice::from_ref(&old));
    // A key that has stopped signing stays until its last tokens have expired.
    let (lately, next) = (format!("{}-b", stamp(-30)), format!("{}-c", stamp(-1)));
    make_key(api.keys(), &lately).await;
    make_key(api.keys(), &next).await;
    assert_eq!(api.reload().await, [""; 0]);
    assert_eq!(jwks(&api).await.0, [old, lately.clone(), next.clone()]);
    // An hour later, the old key is no longer published.
    let for_long = format!("{}-b", stamp(-90));
    fs::rename(
        api.keys().join(format!("{lately}.pem")),
        api.keys().join(format!("{for_long}.pem")),
    )
    .unwrap();
    assert_eq!(api.reload().await, [""; 0]);
    assert_eq!(jwks(&api).await.0, [for_long, next]);
}

/// Returns the time in `minutes` from now, in the format of key names.
fn stamp(minutes: i64) -> String {
    let output = std::process::Command::new("date")
        .args(["-u", "-d", &format!("{minutes} minutes"), "+%Y%m%dT%H%M%SZ"])
        .output();
    String::from_utf8(output.unwrap().stdout).unwrap().trim().to_owned()
}

#[tokio::test]
async fn cached_key_set_expires_before_a_new_key_signs() {
    let database = Database::create().await;
    let api = AuthApi::start(&database, &[("SIGNING_KEY_DELAY", "1m")]).await;
    assert_eq!(jwks(&api).await.1.headers["cache-control"], "public, max-age=30");
}

#[tokio::test]
async fn unusable_files_are_reported_and_change_nothing() {
    let database = Database::create().await;
    let service = Service::add().await;
    let directory = TempDir::new().unwrap();
    let secret = secret_file(&directory);
    let env = [service.env(), ("AUTH_SECRET", ""), ("AUTH_SECRET_FILE", secret.to_str().unwrap())];
    let api = AuthApi::start_with_keys(&database, old_key().await, &env).await;
    let tokens = api.login(&Wallet::generate()).await;
    let clients = fs::read_to_string(&service.file).unwrap();

    fs::write(api.keys().join("20260101T000000Z-b.pem"), "half a key").unwrap();
    fs::write(&secret, "too short").unwrap();
    fs::write(&service.file, "orders").unwrap();
    let errors = api.reload().await;
    assert_eq!(errors.len(), 3, "{errors:?}");
    for (error, name) in
        errors.iter().zip(["20260101T000000Z-b.pem", "AUTH_SECRET_FILE: ", "line 1"])
    {
        assert!(error.contains(name), "{error}");
        assert!(!error.contains("too short"), "{error}");
    }
    let tokens = api.refresh(&tokens.refresh).await.tokens();
    assert_eq!(api.introspect(&service, &tokens.access).await.body["active"], true);
    assert_eq!(jwks(&api).await.0, [OLD]);

    fs::remove_file(api.keys().join("20260101T000000Z-b.pem")).unwrap();
    fs::write(&secret, AuthApi::SECRET).unwrap();
    fs::write(&service.file, clients).unwrap();
    assert_eq!(api.reload().await, [""; 0]);
    for file in fs::read_dir(api.keys()).unwrap() {
        fs::remove_file(file.unwrap().path()).unwrap();
    }
    assert_eq!(api.reload().await.len(), 1, "a directory without keys is an error");
    assert_eq!(api.refresh(&tokens.refresh).await.status, 200);
}

fn secret_file(directory: &TempDir) -> PathBuf {
    let secret = directory.path().join("secret");
    fs::write(&secret, AuthApi::SECRET).unwrap();
    secret
}

#[tokio::test]
async fn secret_is_added_then_used_then_retired() {
    let database = Database::create().await;
    let directory = TempDir::new().unwrap();
    let secret = secret_file(&directory);
    let file = secret.to_str().unwrap();
    let api = AuthApi::start(&database, &[("AUTH_SECRET", ""), ("AUTH_SECRET_FILE", file)]).await;
    let step = async |words: &[&str]| {
        let output =
            command(&[&["keys", "secret"], words, &["--auth-secret-file", file]].concat()).await;
        assert_eq!(api.reload().await, [""; 0]);
        output
    };
    let first = command(&["keys", "secret", "list", "--auth-secret-file", file]).await;
    let (wallet, other) = (Wallet::generate(), Wallet::generate());
    let old = api.login(&wallet).await;
    let (old_cookie, challenge) = (api.cookie_login(&other).await, api.challenge(&wallet).await);
    let second = step(&["add"]).await;
    let added = api.login(&wallet).await;
    step(&["use", &second]).await;
    let new = api.login(&wallet).await;
    // The refresh token, the cookie and the challenge from before the change are still accepted.
    let next = api.refresh(&old.refresh).await.tokens();
    assert_eq!(api.with_cookie("GET", "/auth/session", &old_cookie).await.status, 200);
    assert_eq!(api.submit(&challenge, &wallet.sign(&challenge)).await.status, 200);
    step(&["retire", &first]).await;
    api.refresh(&added.refresh).await.is_problem(401, "refresh_refused");
    api.with_cookie("GET", "/auth/session", &old_cookie).await.is_problem(401, "unauthenticated");
    for tokens in [&next, &new] {
        assert_eq!(
            api.refresh(&tokens.refresh).await.status,
            200,
            "the token was created with the new secret"
        );
    }
    // Replacing the file with an unrelated secret would end all sessions, so the reload fails.
    let last = api.login(&wallet).await;
    fs::write(&secret, AuthApi::OTHER_SECRET).unwrap();
    let errors = api.reload().await;
    assert!(errors.len() == 1 && errors[0].contains("none of the secrets in force"), "{errors:?}");
    assert_eq!(api.refresh(&last.refresh).await.status, 200);
}

#[tokio::test]
async fn client_changes_take_effect_on_reload() {
    let database = Database::create().await;
    let service = Service::add().await;
    let api = AuthApi::start(&database, &[service.env()]).await;
    let token = api.login(&Wallet::generate()).await.access;
    let file = service.file.to_str().unwrap();
    let ask = async |id: &'static str, secret: &str| {
        let request =
            api.client.post(format!("{}/oauth/introspect", api.url)).basic_auth(id, Some(secret));
        api.send(request.form(&[("token", &token)])).await.status.as_u16()
    };
    let billing =
        command(&["clients", "add", "billing", "--introspection-clients-file", file]).await;
    assert_eq!(ask("billing", &billing).await, 401);
    api.reload().await;
    assert_eq!((ask("billing", &billing).await, ask("orders", &service.secret).await), (200, 200));
    let again =
        command(&["clients", "add", "orders", "--replace", "--introspection-clients-file", file])
            .await;
    command(&["clients", "remove", "billing", "--introspection-clients-file", file]).await;
    api.reload().await;
    assert_eq!((ask("billing", &billing).await, ask("orders", &service.secret).await), (401, 401));
    assert_eq!(ask("orders", &again).await, 200);
    fs::remove_file(&service.file).unwrap();
    assert_eq!(ask("orders", &again).await, 200, "files are read only on SIGHUP");
    assert_eq!(api.reload().await, [""; 0]);
    assert_eq!(ask("orders", &again).await, 401, "the file was deleted");
}

/// 32 clients refresh continuously while the signing key and the secret are rotated. There are two
/// replicas. Each token is used at the replica that did not issue it.
#[tokio::test(flavor = "multi_thread")]
async fn rotation_under_load_rejects_no_request() {
    // Nothing is guaranteed unless both replicas receive SIGHUP within the delay. If a slow machine
    // exceeds the delay, the test repeats with a longer delay.
    for delay in [Duration::from_secs(30), Duration::from_mins(2), Duration::from_mins(8)] {
        if let Some(refused) = rotate_under_load(delay).await {
            assert_eq!(refused, Vec::<String>::new());
            return;
        }
    }
    panic!("the replicas did not read the files within any delay");
}

/// Returns the rejected requests, or `None` if a replica read the new key only after it was due to
/// sign.
async fn rotate_under_load(delay: Duration) -> Option<Vec<String>> {
    let delay_s = format!("{}s", delay.as_secs());
    let database = Database::create().await;
    let directory = TempDir::new().unwrap();
    let secret = secret_file(&directory);
    let file = secret.to_str().unwrap();
    let env =
        [("AUTH_SECRET", ""), ("AUTH_SECRET_FILE", file), ("SIGNING_KEY_DELAY", delay_s.as_str())];
    let one = AuthApi::start_with_keys(&database, old_key().await, &env).await;
    let keys = one.keys().to_str().unwrap().to_owned();
    let shared = [
        env.as_slice(),
        &[("SIGNING_KEYS_DIR", keys.as_str()), ("REDIS_PREFIX", &one.redis_prefix)],
    ]
    .concat();
    let other = AuthApi::start(&database, &shared).await;
    let (one, other) = (Arc::new(one), Arc::new(other));

    let over = Arc::new(AtomicBool::new(false));
    let mut clients = Vec::new();
    for number in 0..32 {
        let (one, other, over) = (Arc::clone(&one), Arc::clone(&other), Arc::clone(&over));
        let wallet = Wallet::generate();
        let mut tokens = one.login(&wallet).await;
        let cookie = one.cookie_login(&wallet).await;
        clients.push(tokio::spawn(async move {
            let mut turn = number % 2;
            let (mut kids, mut refused) = (BTreeSet::new(), Vec::new());
            while !over.load(Ordering::Relaxed) {
                let (here, there) = if turn == 0 { (&one, &other) } else { (&other, &one) };
                turn = 1 - turn;
                tokens = here.refresh(&tokens.refresh).await.tokens();
                kids.insert(kid(&tokens.access));
                let session = there.session(&tokens.access).await;
                let by_cookie = there.with_cookie("GET", "/auth/session", &cookie).await;
                let both = [session, by_cookie].into_iter();
                refused.extend(
                    both.filter(|answer| answer.status != 200).map(|answer| format!("{answer:?}")),
                );
            }
            (kids, refused)
        }));
    }
    let next = command(&["keys", "secret", "add", "--auth-secret-file", file]).await;
    let started = Instant::now();
    let made = command(&["keys", "rotate", "--dir", &keys, "--signing-key-delay", &delay_s]).await;
    let fresh = Path::new(&made).file_stem().unwrap().to_str().unwrap().to_owned();
    for api in [&one, &other] {
        assert_eq!(api.reload().await, [""; 0]);
    }
    // The time in the name of the key has a resolution of one second.
    let in_time = started.elapsed() + Duration::from_secs(1) < delay;
    let probe = Wallet::generate();
    eventually("the new key signs", async || kid(&one.login(&probe).await.access) == fresh).await;
    command(&["keys", "secret", "use", &next, "--auth-secret-file", file]).await;
    assert_eq!(one.reload().await, [""; 0]);
    // For a while, one replica creates credentials with a secret that the other only verifies.
    let so_far = one.metric("auth_api_refreshes_total{outcome=\"success\"}").await;
    eventually("clients refreshed before the second reload", async || {
        one.metric("auth_api_refreshes_total{outcome=\"success\"}").await > so_far + 64.0
    })
    .await;
    assert_eq!(other.reload().await, [""; 0]);
    let so_far = other.metric("auth_api_refreshes_total{outcome=\"success\"}").await;
    eventually("clients refreshed after the second reload", async || {
        other.metric("auth_api_refreshes_total{outcome=\"success\"}").await > so_far + 64.0
    })
    .await;
    over.store(true, Ordering::Relaxed);
    let (mut seen, mut refused) = (BTreeSet::new(), Vec::new());
    for client in clients {
        let (kids, not_accepted) = client.await.unwrap();
        seen.extend(kids);
        refused.extend(not_accepted);
    }
    if !in_time {
        return None;
    }
    assert_eq!(
        seen.into_iter().collect::<Vec<_>>(),
        [OLD, &fresh],
        "clients had tokens of both keys"
    );
    for api in [&one, &other] {
        for line in api.program.stderr().lines().filter(|line| line.contains("\"answered\"")) {
            assert!(!line.contains("\"status\":401"), "{line}");
        }
    }
    Some(refused)
}
