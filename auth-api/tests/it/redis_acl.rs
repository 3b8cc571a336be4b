//! deploy/redis/users.acl: each user has the privileges it needs, and no others.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test fails by panicking")]

use redis::{Connection, RedisResult, Value};
use testkit::{AuthApi, Database, Redis, Wallet, eventually};

const PASSWORD: &str = "a-password-of-tests";

/// Starts a Redis with the users of the file, except that the default user stays enabled for the
/// test.
fn with_users() -> Redis {
    let redis = Redis::start();
    let file =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/redis/users.acl"))
            .unwrap();
    let users: Vec<_> = file.lines().filter_map(|line| line.strip_prefix("user ")).collect();
    assert_eq!(users.len(), 3);
    for user in users {
        let hash = user.split(' ').find(|word| word.starts_with('#'));
        let Some(hash) = hash else {
            assert_eq!(user, "default off");
            continue;
        };
        let answer =
            redis.command(&format!("ACL SETUSER {}", user.replace(hash, &format!(">{PASSWORD}"))));
        assert!(answer.starts_with("+OK"), "{user}: {answer}");
    }
    redis
}

fn url(redis: &Redis, user: &str) -> String {
    format!("redis://{user}:{PASSWORD}@{}", redis.address())
}

fn connect(redis: &Redis, user: &str) -> Connection {
    redis::Client::open(url(redis, user)).unwrap().get_connection().unwrap()
}

fn run(connection: &mut Connection, command: &str) -> RedisResult<Value> {
    let mut words = command.split(' ');
    let mut built = redis::cmd(words.next().unwrap());
    words.for_each(|word| {
        built.arg(word);
    });
    built.query(connection)
}

#[tokio::test]
async fn auth_api_user_has_all_required_privileges() {
    let (database, redis) = (Database::create().await, with_users());
    let url = url(&redis, "auth-api");
    let env =
        [("REDIS_URL", url.as_str()), ("REDIS_PREFIX", "auth-0123456789ab"), ("RATE_LIMIT", "on")];
    let api = AuthApi::start(&database, &env).await;
    let tokens = api.login(&Wallet::generate()).await;
    let by_redis = "auth_api_denylist_lookup_duration_seconds_count{source=\"redis\"}";
    eventually("Redis answers look-ups", async || {
        let before = api.metric(by_redis).await;
        assert_eq!(api.session(&tokens.access).await.status, 200);
        api.metric(by_redis).await > before
    })
    .await;
    let tokens = api.refresh(&tokens.refresh).await.tokens();
    assert_eq!(api.logout(&tokens.access).await.status, 204);
    let mut reader = connect(&redis, "auth-reader");
    let denied = format!(
        "MGET {{auth-0123456789ab}}:deny:{} {{auth-0123456789ab}}:deny:complete",
        tokens.session_id
    );
    let Value::Array(found) = run(&mut reader, &denied).unwrap() else {
        unreachable!("MGET returns an array")
    };
    assert!(
        found.len() == 2 && !found.contains(&Value::Nil),
        "a reader can read the entry and the marker: {found:?}"
    );
    api.denies(&tokens.access).await;

    let ready = api.client.get(format!("{}/readyz", api.ops_url)).send().await.unwrap();
    let ready: serde_json::Value = ready.json().await.unwrap();
    assert_eq!(ready["redis"]["maxmemory_policy"], "noeviction", "{ready}");
    for kind in ["timeout", "connection", "other"] {
        let errors =
            api.metric(&format!("auth_api_denylist_errors_total{{kind=\"{kind}\"}}")).await;
        assert!(errors < 1.0, "{kind}: {errors}");
    }
}

#[tokio::test]
async fn redis_users_have_no_excess_privileges() {
    let redis = with_users();
    let mut reader = connect(&redis, "auth-reader");
    let (entry, marker) =
        ("{auth-0123456789ab}:deny:0197f0a2", "{auth-0123456789ab}:deny:complete");
    for command in [
        format!("DEL {entry}"),
        format!("SET {marker} 1"),
        format!("EXPIRE {entry} 0"),
        format!("GET {entry}"),
        "MGET {auth-0123456789ab}:limit:login:ip:127.0.0.1".to_owned(),
        "EVAL return(1) 0".to_owned(),
        "FLUSHALL".to_owned(),
        "CONFIG GET *".to_owned(),
        "ACL WHOAMI".to_owned(),
    ] {
        let error = run(&mut reader, &command).unwrap_err();
        assert_eq!(error.code(), Some("NOPERM"), "{command}: {error}");
    }
    let mut auth_api = connect(&redis, "auth-api");
    for command in
        ["GET {other}:session", "SET other 1", "FLUSHALL", "KEYS *", "CONFIG GET *", "SAVE"]
    {
        let error = run(&mut auth_api, command).unwrap_err();
        assert_eq!(error.code(), Some("NOPERM"), "{command}: {error}");
    }
}

#[tokio::test]
async fn deleted_entry_is_restored_by_the_next_rebuild() {
    let (database, redis) = (Database::create().await, Redis::start());
    let url = redis.url();
    let env =
        [("REDIS_URL", url.as_str()), ("REDIS_PREFIX", "p"), ("DENYLIST_SYNC_INTERVAL", "1s")];
    let api = AuthApi::start(&database, &env).await;
    let tokens = api.login(&Wallet::generate()).await;
    assert_eq!(api.logout(&tokens.access).await.status, 204);
    let entry = format!("{{p}}:deny:{}", tokens.session_id);
    assert!(redis.command(&format!("DEL {entry}")).starts_with(":1"));
    eventually("the entry exists again", async || {
        redis.command(&format!("EXISTS {entry}")).starts_with(":1")
    })
    .await;
}
