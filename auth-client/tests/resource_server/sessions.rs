//! Checks whether a session was revoked, with introspection or with auth-api's list of revoked
//! sessions in Redis.

use testkit::{Answer, AuthApi, Database, Proxy, Redis, Service, Tokens, Wallet, eventually};

use crate::stage::{Resource, is_refused, is_unavailable};

/// An auth-api that another service may query, with two sessions: one was logged out, and one is
/// live.
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
        // A long interval, so that the denylist is not rebuilt during a test.
        let env = [
            ("REDIS_URL", &*url),
            ("REDIS_PREFIX", "p"),
            ("DENYLIST_SYNC_INTERVAL", "1h"),
            // auth-api falls back to PostgreSQL well before the resource server times out.
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

    /// Starts the example with credentials of this auth-api.
    async fn resource(&self, more: &[(&str, &str)]) -> Resource {
        let mut env =
            vec![("CLIENT_ID", self.service.id), ("CLIENT_SECRET", &*self.service.secret)];
        env.extend_from_slice(more);
        Resource::start(&self.api.url, &env).await
    }
}

#[tokio::test]
async fn revoked_session_is_rejected_where_it_is_checked() {
    let stage = Stage::set().await;
    let resource = stage.resource(&[]).await;
    assert!(is_refused(&resource.danger(&stage.revoked.access).await));
    assert_eq!(resource.danger(&stage.live.access).await.status, 204);
    // Offline verification does not notice the revocation.
    assert_eq!(resource.me(&stage.revoked.access).await.status, 200);
    // The revocation applies from the next request on.
    assert_eq!(stage.api.logout(&stage.live.access).await.status, 204);
    assert!(is_refused(&resource.danger(&stage.live.access).await));
}

#[tokio::test]
async fn no_session_is_accepted_while_auth_api_is_unavailable() {
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
    // auth-api receives the request and does not respond.
    proxy.stall();
    assert!(is_unavailable(&resource.danger(&stage.live.access).await));
}

#[tokio::test]
async fn no_session_is_accepted_without_valid_client_credentials() {
    let stage = Stage::set().await;
    let nobody = Resource::start(&stage.api.url, &[]).await;
    assert!(is_unavailable(&nobody.danger(&stage.live.access).await));
    let wrong = stage.resource(&[("CLIENT_SECRET", "wrong")]).await;
    assert!(is_unavailable(&wrong.danger(&stage.live.access).await));
    assert_eq!(wrong.me(&stage.live.access).await.status, 200);
}

/// Returns the response of a resource server whose only source is Redis. Repeats the request until
/// Redis has responded in time; before that, the resource server rejects all requests.
async fn known(resource: &Resource, token: &str) -> Answer {
    let mut answer = resource.danger(token).await;
    eventually("Redis responds in time", async || {
        if is_unavailable(&answer) {
            answer = resource.danger(token).await;
        }
        !is_unavailable(&answer)
    })
    .await;
    answer
}

#[tokio::test]
async fn complete_denylist_replaces_introspection() {
    let stage = Stage::set().await;
    // A user that may only look up keys, as in docs/resource-servers.md.
    assert!(
        stage.redis.command("ACL SETUSER orders on >secret ~{p}:deny:* +mget").starts_with("+OK")
    );
    let url = format!("redis://orders:secret@{}", stage.redis.address());
    // The resource server has no credentials for auth-api, so its only source is Redis.
    let list = [("REDIS_URL", &*url), ("REDIS_PREFIX", "{p}")];
    let resource = Resource::start(&stage.api.url, &list).await;
    assert_eq!(known(&resource, &stage.live.access).await.status, 204);
    assert!(is_refused(&known(&resource, &stage.revoked.access).await));
    assert_eq!(stage.api.logout(&stage.live.access).await.status, 204);
    assert!(is_refused(&known(&resource, &stage.live.access).await));
}

#[tokio::test]
async fn incomplete_denylist_is_not_trusted() {
    let stage = Stage::set().await;
    let url = stage.redis.url();
    let list = [("REDIS_URL", &*url), ("REDIS_PREFIX", "p")];
    let (alone, asking) =
        (Resource::start(&stage.api.url, &list).await, stage.resource(&list).await);
    eventually("Redis is used", async || alone.danger(&stage.live.access).await.status == 204)
        .await;
    assert!(stage.redis.command("FLUSHALL").starts_with("+OK"));
    // The list is now empty, and there is only the marker of another deployment, which is not used.
    assert!(stage.redis.command("SET {q}:deny:complete 1").starts_with("+OK"));
    for token in [&stage.live.access, &stage.revoked.access] {
        assert!(is_unavailable(&alone.danger(token).await));
    }
    // auth-api knows the state of all sessions, and rewrites the list when auth-api is queried.
    assert_eq!(asking.danger(&stage.live.access).await.status, 204);
    assert!(is_refused(&asking.danger(&stage.revoked.access).await));
}

#[tokio::test]
async fn unavailable_redis_does_not_admit_revoked_sessions() {
    let mut stage = Stage::set().await;
    let url = stage.redis.url();
    let list = [("REDIS_URL", &*url), ("REDIS_PREFIX", "p")];
    let (alone, asking) =
        (Resource::start(&stage.api.url, &list).await, stage.resource(&list).await);
    eventually("Redis is used", async || alone.danger(&stage.live.access).await.status == 204)
        .await;
    stage.redis.hang();
    assert!(is_unavailable(&alone.danger(&stage.live.access).await));
    assert_eq!(asking.danger(&stage.live.access).await.status, 204);
    assert!(is_refused(&asking.danger(&stage.revoked.access).await));
    stage.redis.wake();
    eventually("Redis is used again", async || {
        alone.danger(&stage.live.access).await.status == 204
    })
    .await;
    stage.redis.kill();
    assert!(is_unavailable(&alone.danger(&stage.live.access).await));
    assert_eq!(asking.danger(&stage.live.access).await.status, 204);
    assert!(is_refused(&asking.danger(&stage.revoked.access).await));
}
