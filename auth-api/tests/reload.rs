//! SIGHUP: keys, secrets and clients are read again, and nobody is logged out by it.
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

/// A key of this name.
async fn make_key(directory: &Path, kid: &str) {
    let elsewhere = TempDir::new().unwrap();
    let made = command(&["keys", "generate", "--dir", elsewhere.path().to_str().unwrap()]).await;
    fs::rename(made, directory.join(format!("{kid}.pem"))).unwrap();
}

/// A directory with one key that has signed for years.
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
async fn a_key_is_published_before_it_signs_and_its_predecessor_verifies_on() {
    let database = Database::create().await;
    let api = AuthApi::start_with_keys(&database, old_key().await, &[]).await;
    let wallet = Wallet::generate();
    let before = api.login(&wallet).await.access;
    assert_eq!(kid(&before), OLD);

    let made = command(&["keys", "rotate", "--dir", api.keys().to_str().unwrap()]).await;
    let fresh = Path::new(&made).file_stem().unwrap().to_str().unwrap().to_owned();
    assert_eq!(jwks(&api).await.0, [OLD], "not before SIGHUP");
    assert_eq!(api.reload().await, [""; 0]);
    let (published, answer) = jwks(&api).await;
    assert_eq!(published, [OLD, &fresh]);
    assert_eq!(answer.headers["cache-control"], "public, max-age=300");
    assert_eq!(
        kid(&api.login(&wallet).await.access),
        OLD,
        "it has not been published for ten minutes"
    );

    // The same as if it had been made eleven minutes ago.
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
async fn keys_that_are_spent_leave_the_published_set() {
    let database = Database::create().await;
    let keys = TempDir::new().unwrap();
    make_key(keys.path(), "19400101T000000Z-a").await;
    // 80 years of a key each, and nobody who retires them.
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
    // It stays until the tokens of a key that has stopped signing have expired.
    let (lately, next) = (format!("{}-b", stamp(-30)), format!("{}-c", stamp(-1)));
    make_key(api.keys(), &lately).await;
    make_key(api.keys(), &next).await;
    assert_eq!(api.reload().await, [""; 0]);
    assert_eq!(jwks(&api).await.0, [old, lately.clone(), next.clone()]);
    // The same an hour later, but for the next one.
    let for_long = format!("{}-b", stamp(-90));
    fs::rename(
        api.keys().join(format!("{lately}.pem")),
        api.keys().join(format!("{for_long}.pem")),
    )
    .unwrap();
    assert_eq!(api.reload().await, [""; 0]);
    assert_eq!(jwks(&api).await.0, [for_long, next]);
}

/// The time so many minutes from now, as names of keys have it.
fn stamp(minutes: i64) -> String {
    let output = std::process::Command::new("date")
        .args(["-u", "-d", &format!("{minutes} minutes"), "+%Y%m%dT%H%M%SZ"])
        .output();
    String::from_utf8(output.unwrap().stdout).unwrap().trim().to_owned()
}

#[tokio::test]
async fn what_verifiers_may_keep_ends_before_a_new_key_signs() {
    let database = Database::create().await;
    let api = AuthApi::start(&database, &[("SIGNING_KEY_DELAY", "1m")]).await;
    assert_eq!(jwks(&api).await.1.headers["cache-control"], "public, max-age=30");
}

#[tokio::test]
async fn what_cannot_be_used_changes_nothing_and_is_told() {
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
    let mistakes = api.reload().await;
    assert_eq!(mistakes.len(), 3, "{mistakes:?}");
    for (mistake, name) in
        mistakes.iter().zip(["20260101T000000Z-b.pem", "AUTH_SECRET_FILE: ", "line 1"])
    {
        assert!(mistake.contains(name), "{mistake}");
        assert!(!mistake.contains("too short"), "{mistake}");
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
    assert_eq!(api.reload().await.len(), 1, "no key at all");
    assert_eq!(api.refresh(&tokens.refresh).await.status, 200);
}

fn secret_file(directory: &TempDir) -> PathBuf {
    let secret = directory.path().join("secret");
    fs::write(&secret, AuthApi::SECRET).unwrap();
    secret
}

#[tokio::test]
async fn a_secret_is_added_then_used_then_retired() {
    let database = Database::create().await;
    let directory = TempDir::new().unwrap();
    let secret = secret_file(&directory);
    let file = secret.to_str().unwrap();
    let api = AuthApi::start(&database, &[("AUTH_SECRET", ""), ("AUTH_SECRET_FILE", file)]).await;
    let step = async |words: &[&str]| {
        let told =
            command(&[&["keys", "secret"], words, &["--auth-secret-file", file]].concat()).await;
        assert_eq!(api.reload().await, [""; 0]);
        told
    };
    let first = command(&["keys", "secret", "list", "--auth-secret-file", file]).await;
    let (wallet, other) = (Wallet::generate(), Wallet::generate());
    let old = api.login(&wallet).await;
    let (old_cookie, challenge) = (api.cookie_login(&other).await, api.challenge(&wallet).await);
    let second = step(&["add"]).await;
    let added = api.login(&wallet).await;
    step(&["use", &second]).await;
    let new = api.login(&wallet).await;
    // All of them: a refresh token and a cookie of before, a challenge of before, and what came in
    // between.
    let next = api.refresh(&old.refresh).await.tokens();
    assert_eq!(api.with_cookie("GET", "/auth/session", &old_cookie).await.status, 200);
    assert_eq!(api.submit(&challenge, &wallet.sign(&challenge)).await.status, 200);
    step(&["retire", &first]).await;
    api.refresh(&added.refresh).await.is_problem(401, "refresh_refused");
    api.with_cookie("GET", "/auth/session", &old_cookie).await.is_problem(401, "unauthenticated");
    for tokens in [&next, &new] {
        assert_eq!(api.refresh(&tokens.refresh).await.status, 200, "made by the new one");
    }
    // Whoever writes another secret over it would log everybody out.
    let last = api.login(&wallet).await;
    fs::write(&secret, AuthApi::OTHER_SECRET).unwrap();
    let mistakes = api.reload().await;
    assert!(
        mistakes.len() == 1 && mistakes[0].contains("none of the secrets in force"),
        "{mistakes:?}"
    );
    assert_eq!(api.refresh(&last.refresh).await.status, 200);
}

#[tokio::test]
async fn clients_come_and_go_at_once() {
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
    assert_eq!(ask("orders", &again).await, 200, "not before SIGHUP");
    assert_eq!(api.reload().await, [""; 0]);
    assert_eq!(ask("orders", &again).await, 401, "the file was deleted");
}

/// 32 clients refresh without a pause, and use what they get at the other of two replicas, while
/// the signing key and the secret are rotated under them.
#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_under_load_refuses_nobody() {
    // An operator has the delay for both SIGHUPs. A machine on which they took longer is given a
    // longer one: nothing is promised to clients otherwise.
    for delay in [Duration::from_secs(30), Duration::from_mins(2), Duration::from_mins(8)] {
        if let Some(refused) = rotate_under_load(delay).await {
            assert_eq!(refused, Vec::<String>::new());
            return;
        }
    }
    panic!("the files were not read within any delay");
}

/// What clients were refused; `None` when the replicas had not both read the new key before it was
/// to sign.
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
    let begun = Instant::now();
    let made = command(&["keys", "rotate", "--dir", &keys, "--signing-key-delay", &delay_s]).await;
    let fresh = Path::new(&made).file_stem().unwrap().to_str().unwrap().to_owned();
    for api in [&one, &other] {
        assert_eq!(api.reload().await, [""; 0]);
    }
    // The key's time is its name's, in whole seconds.
    let in_time = begun.elapsed() + Duration::from_secs(1) < delay;
    let probe = Wallet::generate();
    eventually("the new key signs", async || kid(&one.login(&probe).await.access) == fresh).await;
    command(&["keys", "secret", "use", &next, "--auth-secret-file", file]).await;
    assert_eq!(one.reload().await, [""; 0]);
    // For a while one replica makes what the other only verifies.
    let so_far = one.metric("auth_api_refreshes_total{outcome=\"success\"}").await;
    eventually("clients refreshed in between", async || {
        one.metric("auth_api_refreshes_total{outcome=\"success\"}").await > so_far + 64.0
    })
    .await;
    assert_eq!(other.reload().await, [""; 0]);
    let so_far = other.metric("auth_api_refreshes_total{outcome=\"success\"}").await;
    eventually("clients refreshed after it", async || {
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
