//! Tokens that are forged from `AUTH_SECRET` and a session id do not end the session. Tokens that
//! were issued for the session end it.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test fails by panicking")]

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::json;
use testkit::{Answer, AuthApi, Database, Service, Tokens, Wallet};
use uuid::Uuid;

/// Returns the first 16 bytes of a keyed BLAKE3 hash.
fn mac(key: &[u8; 32], message: &[u8]) -> [u8; 16] {
    blake3::keyed_hash(key, message).as_bytes()[..16].try_into().unwrap()
}

/// Derives a key from `AUTH_SECRET` for this context.
fn derived(context: &str) -> [u8; 32] {
    blake3::derive_key(context, &STANDARD.decode(AuthApi::SECRET).unwrap())
}

/// Builds a token from a head and a secret, with the tag that `AUTH_SECRET` produces.
fn token(prefix: &str, context: &str, head: &[u8], secret: &[u8; 32]) -> String {
    let mut bytes = [head, secret].concat();
    let tag = mac(&derived(context), &bytes);
    bytes.extend(tag);
    format!("{prefix}{}", URL_SAFE_NO_PAD.encode(bytes))
}

fn refresh_token(session_id: &str, generation: u32, secret: &[u8; 32]) -> String {
    let head = [&Uuid::parse_str(session_id).unwrap().into_bytes()[..], &generation.to_be_bytes()]
        .concat();
    token("rt_", "session-reaper auth-api 2026-11 refresh token tag", &head, secret)
}

fn session_token(session_id: &str) -> String {
    let head = Uuid::parse_str(session_id).unwrap().into_bytes();
    token("ses_", "session-reaper auth-api 2026-11 session token tag", &head, &[7; 32])
}

/// Builds a refresh token whose secret consists of 16 bytes and the proof of these bytes under the
/// family key.
fn proved(key: &[u8; 32], session_id: &str, generation: u32) -> String {
    let random = [9; 16];
    let proof = mac(
        key,
        &[
            &Uuid::parse_str(session_id).unwrap().into_bytes()[..],
            &generation.to_be_bytes(),
            &random,
        ]
        .concat(),
    );
    refresh_token(session_id, generation, &[random, proof].concat().try_into().unwrap())
}

async fn key_of(database: &Database, session_id: &str) -> [u8; 32] {
    let key: Vec<u8> = database
        .one(&format!("SELECT key FROM token_families WHERE session_id = '{session_id}'"))
        .await;
    key.try_into().unwrap()
}

/// Creates a session and refreshes it three times, so long ago that the use of any old token counts
/// as reuse. Returns all its tokens, oldest first.
async fn chain(api: &AuthApi, database: &Database) -> Vec<Tokens> {
    let mut chain = vec![api.login(&Wallet::generate()).await];
    for _ in 0..3 {
        chain.push(api.refresh(&chain.last().unwrap().refresh).await.tokens());
    }
    database.age_rotations("1 hour").await;
    chain
}

/// An endpoint where a refresh token can end its session.
#[derive(Clone, Copy, Debug)]
enum End {
    Refresh,
    Logout,
    Revoke,
}

impl End {
    const ALL: [Self; 3] = [Self::Refresh, Self::Logout, Self::Revoke];

    fn route(self) -> &'static str {
        match self {
            Self::Refresh => "/auth/refresh",
            Self::Logout => "/auth/logout",
            Self::Revoke => "/oauth/revoke",
        }
    }

    async fn by(self, api: &AuthApi, service: &Service, token: &str) -> Answer {
        match self {
            Self::Refresh => api.refresh(token).await,
            Self::Logout => api.post("/auth/logout", &json!({ "refresh_token": token })).await,
            Self::Revoke => api.revoke(service, token).await,
        }
    }

    /// Asserts that this is the response to a token that was not issued for the session.
    fn refuses(self, answer: &Answer) {
        match self {
            Self::Refresh => answer.is_problem(401, "refresh_refused"),
            Self::Logout => answer.is_problem(401, "unauthenticated"),
            Self::Revoke => assert_eq!((answer.status.as_u16(), &answer.body), (200, &json!(""))),
        }
    }

    fn reason(self) -> &'static str {
        match self {
            Self::Refresh => "reuse",
            Self::Logout => "logout",
            Self::Revoke => "client",
        }
    }
}

async fn reason(database: &Database, session_id: &str) -> Option<String> {
    database.one(&format!("SELECT revoked_reason FROM sessions WHERE id = '{session_id}'")).await
}

async fn forged(api: &AuthApi, route: &str) -> f64 {
    api.metric(&format!("auth_api_forged_tokens_total{{route=\"{route}\"}}")).await
}

#[tokio::test]
async fn tokens_forged_with_auth_secret_end_no_session() {
    let database = Database::create().await;
    let service = Service::add().await;
    let api = AuthApi::start(&database, &[service.env()]).await;
    let chain = chain(&api, &database).await;
    let (id, current) = (&chain[0].session_id, &chain[3]);
    for end in End::ALL {
        for generation in 0..=4 {
            end.refuses(&end.by(&api, &service, &refresh_token(id, generation, &[7; 32])).await);
            assert_eq!(reason(&database, id).await, None, "{end:?}, generation {generation}");
        }
        assert!((forged(&api, end.route()).await - 5.0).abs() < f64::EPSILON, "{end:?}");
    }
    let events = api.program.log_events("forged_token");
    assert_eq!(events.len(), 15);
    let event = json!({ "event": "forged_token", "session_id": id, "route": "/auth/refresh", "ip": "127.0.0.1" });
    assert!(
        event.as_object().unwrap().iter().all(|(name, value)| events[0][name] == *value),
        "{:?}",
        events[0]
    );
    assert_eq!(api.session(&current.access).await.status, 200);
    let next = api.refresh(&current.refresh).await.tokens();
    assert_eq!(next.session_id, *id);
}

/// A forged token that is also made with the family key ends the session. This shows that the other
/// forged tokens lack only this key.
#[tokio::test]
async fn old_generation_with_the_family_key_ends_its_session() {
    for end in End::ALL {
        let database = Database::create().await;
        let service = Service::add().await;
        let api = AuthApi::start(&database, &[service.env()]).await;
        let chain = chain(&api, &database).await;
        let id = &chain[0].session_id;
        let _ = end.by(&api, &service, &proved(&key_of(&database, id).await, id, 1)).await;
        assert_eq!(reason(&database, id).await.as_deref(), Some(end.reason()), "{end:?}");
        api.denies(&chain[3].access).await;
    }
}

/// A process that has the family key in memory rotates the token in one statement. It treats every
/// other token like a process without the key.
#[tokio::test]
async fn family_key_is_read_once_per_process() {
    let database = Database::create().await;
    let api = AuthApi::start(&database, &[]).await;
    let other = AuthApi::start(&database, &[]).await;
    let first = api.login(&Wallet::generate()).await;
    let reads = async |api: &AuthApi| {
        api.metric("auth_api_db_query_duration_seconds_count{query=\"refresh_read\"}")
            .await
            .to_string()
    };
    let second = api.refresh(&first.refresh).await.tokens();
    let third = other.refresh(&second.refresh).await.tokens();
    let fourth = other.refresh(&third.refresh).await.tokens();
    let fifth = api.refresh(&fourth.refresh).await.tokens();
    assert_eq!([reads(&api).await, reads(&other).await], ["0", "1"]);

    let id = &first.session_id;
    for generation in [0, 3, 4, 5, u32::MAX] {
        let forged = api.refresh(&refresh_token(id, generation, &[7; 32])).await;
        assert_eq!(forged.status, 401, "{generation}");
    }
    assert_eq!(forged(&api, "/auth/refresh").await.to_string(), "5");
    database.age_rotations("1 hour").await;
    assert_eq!(api.refresh(&second.refresh).await.status, 401);
    assert_eq!(reason(&database, id).await.as_deref(), Some("reuse"));
    assert_eq!(api.refresh(&fifth.refresh).await.status, 401);
}

#[tokio::test]
async fn every_issued_token_can_end_its_session() {
    for end in End::ALL {
        for generation in 0..=3 {
            let database = Database::create().await;
            let service = Service::add().await;
            let api = AuthApi::start(&database, &[service.env()]).await;
            let chain = chain(&api, &database).await;
            let answer = end.by(&api, &service, &chain[generation].refresh).await;
            let id = &chain[0].session_id;
            if generation == 3 && matches!(end, End::Refresh) {
                let _ = answer.tokens();
                continue;
            }
            assert_eq!(
                reason(&database, id).await.as_deref(),
                Some(end.reason()),
                "{end:?}, generation {generation}"
            );
            assert!((forged(&api, end.route()).await).abs() < f64::EPSILON);
        }
    }
}

#[tokio::test]
async fn forged_cookie_ends_no_session() {
    let database = Database::create().await;
    let service = Service::add().await;
    let api = AuthApi::start(&database, &[service.env()]).await;
    let wallet = Wallet::generate();
    let tokens = api.login(&wallet).await;
    let login = api.try_cookie_login(&wallet, None).await;
    let (cookie, id) = (login.cookie(), login.body["session_id"].as_str().unwrap().to_owned());
    let (name, _) = cookie.split_once('=').unwrap();
    for id in [&tokens.session_id, &id] {
        let made = session_token(id);
        let answer = api.with_cookie("POST", "/auth/logout", &format!("{name}={made}")).await;
        answer.is_problem(401, "unauthenticated");
        End::Revoke.refuses(&api.revoke(&service, &made).await);
        // A forged refresh token ends nothing, either.
        let answer = api
            .post("/auth/logout", &json!({ "refresh_token": refresh_token(id, 0, &[7; 32]) }))
            .await;
        answer.is_problem(401, "unauthenticated");
        assert_eq!(reason(&database, id).await, None);
    }
    assert!((forged(&api, "/auth/logout").await - 4.0).abs() < f64::EPSILON);
    assert!((forged(&api, "/oauth/revoke").await - 2.0).abs() < f64::EPSILON);
    // The genuine cookie ends its session.
    assert_eq!(api.with_cookie("POST", "/auth/logout", &cookie).await.status, 204);
    assert_eq!(reason(&database, &id).await.as_deref(), Some("logout"));
}

#[tokio::test]
async fn forged_token_waits_for_no_lock() {
    let database = Database::create().await;
    let service = Service::add().await;
    let api = AuthApi::start(&database, &[service.env()]).await;
    let chain = chain(&api, &database).await;
    let before: String = database.one("SELECT xmin::text FROM token_families").await;
    let holder = database.client().await;
    holder
        .batch_execute("BEGIN; SELECT FROM accounts FOR UPDATE; SELECT FROM sessions FOR UPDATE; SELECT FROM token_families FOR UPDATE")
        .await
        .unwrap();
    for end in End::ALL {
        end.refuses(
            &end.by(&api, &service, &refresh_token(&chain[0].session_id, 1, &[7; 32])).await,
        );
    }
    holder.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(
        database.one::<String>("SELECT xmin::text FROM token_families").await,
        before,
        "nothing was written"
    );
}

#[tokio::test]
async fn family_without_a_key_follows_the_old_rule() {
    for end in End::ALL {
        let database = Database::create().await;
        let service = Service::add().await;
        let api = AuthApi::start(&database, &[service.env()]).await;
        let first = api.login(&Wallet::generate()).await;
        // Simulates a row that was inserted by an earlier auth-api, which does not know the column
        // `key`.
        database
            .execute(
                "UPDATE token_families SET key = NULL, recorded_generation = NULL, last_ipv4 = NULL, last_ipv6 = NULL",
            )
            .await;
        let next = api.refresh(&first.refresh).await.tokens();
        assert_eq!(api.refresh(&first.refresh).await.tokens().refresh, next.refresh);
        let last = api.refresh(&next.refresh).await.tokens();
        database.age_rotations("1 hour").await;
        assert_eq!(
            database.one::<Option<Vec<u8>>>("SELECT key FROM token_families").await,
            None,
            "no key is created later"
        );
        let _ = end.by(&api, &service, &first.refresh).await;
        assert_eq!(
            reason(&database, &first.session_id).await.as_deref(),
            Some(end.reason()),
            "{end:?}"
        );
        api.denies(&last.access).await;
    }
}

/// An earlier auth-api, which does not know the column `key`, rotates a family that has a key. The
/// secret of the new token is random and contains no proof, which is a hash that is made with this
/// key.
#[tokio::test]
async fn token_of_an_earlier_release_is_accepted_by_its_hash() {
    for end in End::ALL {
        let database = Database::create().await;
        let service = Service::add().await;
        let api = AuthApi::start(&database, &[service.env()]).await;
        let first = api.login(&Wallet::generate()).await;
        let unproved = refresh_token(&first.session_id, 1, &[5; 32]);
        let hash = blake3::hash(unproved.as_bytes());
        let rotated = format!(
            "UPDATE token_families SET generation = 1, previous_hash = token_hash, token_hash = '\\x{}', rotated_at = now()",
            hash.to_hex()
        );
        database.execute(&rotated).await;
        if let End::Refresh = end {
            let next = api.refresh(&unproved).await.tokens();
            assert_eq!(api.refresh(&unproved).await.tokens().refresh, next.refresh);
            let last = api.refresh(&next.refresh).await.tokens();
            database.age_rotations("1 hour").await;
            api.refresh(&next.refresh).await.is_problem(401, "refresh_refused");
            api.denies(&last.access).await;
        } else {
            let _ = end.by(&api, &service, &unproved).await;
        }
        assert_eq!(
            reason(&database, &first.session_id).await.as_deref(),
            Some(end.reason()),
            "{end:?}"
        );
    }
}

#[tokio::test]
async fn secret_is_half_random_and_half_proof() {
    let database = Database::create().await;
    let api = AuthApi::start(&database, &[]).await;
    let chain = chain(&api, &database).await;
    let other = api.login(&Wallet::generate()).await;
    let key = key_of(&database, &chain[0].session_id).await;
    assert_ne!(key, key_of(&database, &other.session_id).await);
    let mut halves = std::collections::BTreeSet::new();
    for tokens in &chain {
        assert_eq!(tokens.refresh.len(), 94, "the token format is unchanged");
        let bytes = URL_SAFE_NO_PAD.decode(&tokens.refresh[3..]).unwrap();
        let (proved, proof) = (&bytes[..36], &bytes[36..52]);
        assert_eq!(proof, mac(&key, proved));
        halves.insert(bytes[20..36].to_vec());
    }
    assert_eq!(halves.len(), 4);
}

/// Forges a challenge from `AUTH_SECRET`, with another expiration time.
fn challenge(message: &str, expires_at: &str) -> String {
    let (head, rest) = message.split_once("\nNonce: ").unwrap();
    let head = format!("{head}\nNonce: ");
    let tail = &rest[64..];
    let expiry = tail.lines().find(|line| line.starts_with("Expiration Time: ")).unwrap();
    let tail = tail.replace(expiry, &format!("Expiration Time: {expires_at}"));
    let random = "00112233445566778899aabbccddeeff";
    let key = derived("session-reaper auth-api 2026-11 challenge nonce");
    let nonce = mac(&key, &[head.as_bytes(), random.as_bytes(), tail.as_bytes()].concat());
    format!("{head}{random}{}{tail}", hex::encode(nonce))
}

#[tokio::test]
async fn challenge_valid_for_over_an_hour_is_rejected() {
    let database = Database::create().await;
    let api = AuthApi::start(&database, &[]).await;
    let wallet = Wallet::generate();
    let message = api.challenge(&wallet).await;
    for (expires_in, status) in [("2 hours", 401), ("100 years", 401), ("30 minutes", 200)] {
        let at = format!(
            "SELECT to_char((now() + interval '{expires_in}') AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')"
        );
        let made = challenge(&message, &database.one::<String>(&at).await);
        let answer = api.submit(&made, &wallet.sign(&made)).await;
        assert_eq!(answer.status, status, "{expires_in}: {answer:?}");
    }
    assert_eq!(database.one::<i64>("SELECT count(*) FROM sessions").await, 1);
}
