//! Sessions that must stand: by auth-api's word, or by its denylist.

use testkit::{Answer, AuthApi, Database, Proxy, Redis, Service, Tokens, Wallet, eventually};

use crate::stage::{Resource, is_refused, is_unavailable};

/// An API that another service may ask, with one session that was logged out and one that lives.
struct Stage {
    _database: Database,
    redis: Redis,
    service: Service,
    api: AuthApi,
    revoked: Tokens,
    live: Tokens,
}

impl Stage {
    async fn set() -> Self {
        let (database, redis, service) =
            (Database::create().await, Redis::start(), Service::add().await);
        let url = redis.url();
        // The marker stays as a test leaves it: the list is not rebuilt by the clock.
        let env = [
            ("REDIS_URL", &*url),
            ("REDIS_PREFIX", "p"),
            ("DENYLIST_SYNC_INTERVAL", "1h"),
            // auth-api turns to PostgreSQL well before the resource gives up.
            ("REDIS_TIMEOUT", "100ms"),
            service.env(),
        ];
        let api = AuthApi::start(&database, &env).await;
        eventually("the denylist is complete", async || {
            redis.command("EXISTS {p}:deny:complete").starts_with(":1")
        })
        .await;
        let wallet = Wallet::generate();
        let (revoked, live) = (api.login(&wallet).await, api.login(&wallet).await);
        assert_eq!(api.logout(&revoked.access).await.status, 204);
        Self { _database: database, redis, service, api, revoked, live }
    }

    /// The example, that may ask this auth-api.
    async fn resource(&self, more: &[(&str, &str)]) -> Resource {
        let mut env =
            vec![("CLIENT_ID", self.service.id), ("CLIENT_SECRET", &*self.service.secret)];
        env.extend_from_slice(more);
        Resource::start(&self.api.url, &env).await
    }
}

#[tokio::test]
async fn a_revoked_session_is_refused_where_it_must_stand() {
    let stage = Stage::set().await;
    let resource = stage.resource(&[]).await;
    assert!(is_refused(&resource.danger(&stage.revoked.access).await));
    assert_eq!(resource.danger(&stage.live.access).await.status, 204);
    // Offline nobody knows.
    assert_eq!(resource.me(&stage.revoked.access).await.status, 200);
    // From the next request on.
    assert_eq!(stage.api.logout(&stage.live.access).await.status, 204);
    assert!(is_refused(&resource.danger(&stage.live.access).await));
}

#[tokio::test]
async fn when_auth_api_does_not_answer_no_session_stands() {
    let stage = Stage::set().await;
    let proxy = Proxy::to(stage.api.url.strip_prefix("http://").unwrap()).await;
    let credentials = [("CLIENT_ID", stage.service.id), ("CLIENT_SECRET", &*stage.service.secret)];
    let resource = Resource::start(&format!("http://{}", proxy.address()), &credentials).await;
    assert_eq!(resource.danger(&stage.live.access).await.status, 204);
    proxy.cut();
    assert!(is_unavailable(&resource.danger(&stage.live.access).await));
    assert_eq!(resource.me(&stage.live.access).await.status, 200);
    proxy.restore();
    assert_eq!(resource.danger(&stage.live.access).await.status, 204);
    // It takes the request, and says nothing.
    proxy.stall();
    assert!(is_unavailable(&resource.danger(&stage.live.access).await));
}

#[tokio::test]
async fn who_may_not_ask_lets_nobody_in() {
    let stage = Stage::set().await;
    let nobody = Resource::start(&stage.api.url, &[]).await;
    assert!(is_unavailable(&nobody.danger(&stage.live.access).await));
    let wrong = stage.resource(&[("CLIENT_SECRET", "wrong")]).await;
    assert!(is_unavailable(&wrong.danger(&stage.live.access).await));
    assert_eq!(wrong.me(&stage.live.access).await.status, 200);
}

/// What a resource that has Redis alone answers once Redis has answered it in time; until then
/// nobody gets in.
async fn known(resource: &Resource, token: &str) -> Answer {
    let mut answer = resource.danger(token).await;
    eventually("Redis answers in time", async || {
        if is_unavailable(&answer) {
            answer = resource.danger(token).await;
        }
        !is_unavailable(&answer)
    })
    .await;
    answer
}

#[tokio::test]
async fn the_denylist_answers_for_auth_api_while_it_is_complete() {
    let stage = Stage::set().await;
    // A user that may do no more than look up, as docs/resource-servers.md has it.
    assert!(
        stage.redis.command("ACL SETUSER orders on >secret ~{p}:deny:* +mget").starts_with("+OK")
    );
    let url = format!("redis://orders:secret@{}", stage.redis.address());
    // It may not ask auth-api: what it knows is from Redis.
    let list = [("REDIS_URL", &*url), ("REDIS_PREFIX", "{p}")];
    let resource = Resource::start(&stage.api.url, &list).await;
    assert_eq!(known(&resource, &stage.live.access).await.status, 204);
    assert!(is_refused(&known(&resource, &stage.revoked.access).await));
    assert_eq!(stage.api.logout(&stage.live.access).await.status, 204);
    assert!(is_refused(&known(&resource, &stage.live.access).await));
}

#[tokio::test]
async fn a_denylist_that_may_lack_something_is_not_believed() {
    let stage = Stage::set().await;
    let url = stage.redis.url();
    let list = [("REDIS_URL", &*url), ("REDIS_PREFIX", "p")];
    let (alone, asking) =
        (Resource::start(&stage.api.url, &list).await, stage.resource(&list).await);
    eventually("Redis is asked", async || alone.danger(&stage.live.access).await.status == 204)
        .await;
    assert!(stage.redis.command("FLUSHALL").starts_with("+OK"));
    // Of no session it knows anything now; another deployment's list is not ours.
    assert!(stage.redis.command("SET {q}:deny:complete 1").starts_with("+OK"));
    for token in [&stage.live.access, &stage.revoked.access] {
        assert!(is_unavailable(&alone.danger(token).await));
    }
    // auth-api knows better, and writes the list again when it is asked.
    assert_eq!(asking.danger(&stage.live.access).await.status, 204);
    assert!(is_refused(&asking.danger(&stage.revoked.access).await));
}

#[tokio::test]
async fn a_redis_that_is_away_or_hangs_is_no_way_in() {
    let mut stage = Stage::set().await;
    let url = stage.redis.url();
    let list = [("REDIS_URL", &*url), ("REDIS_PREFIX", "p")];
    let (alone, asking) =
        (Resource::start(&stage.api.url, &list).await, stage.resource(&list).await);
    eventually("Redis is asked", async || alone.danger(&stage.live.access).await.status == 204)
        .await;
    stage.redis.hang();
    assert!(is_unavailable(&alone.danger(&stage.live.access).await));
    assert_eq!(asking.danger(&stage.live.access).await.status, 204);
    assert!(is_refused(&asking.danger(&stage.revoked.access).await));
    stage.redis.wake();
    eventually("Redis is asked again", async || {
        alone.danger(&stage.live.access).await.status == 204
    })
    .await;
    stage.redis.kill();
    assert!(is_unavailable(&alone.danger(&stage.live.access).await));
    assert_eq!(asking.danger(&stage.live.access).await.status, 204);
    assert!(is_refused(&asking.danger(&stage.revoked.access).await));
}
