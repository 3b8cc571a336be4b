//! The state that all requests share.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use hardening::ops_hosts::OpsHosts;

use crate::admin::Admin;
use crate::clients::ClientCheck;
use crate::clock::{Clock, NotSynchronized};
use crate::config::{Bounds, Config, TrustedProxies};
use crate::credentials::access_token::AccessTokens;
use crate::credentials::signing_keys::SigningKeys;
use crate::credentials::{ChallengeIssuer, Secrets};
use crate::database::Database;
use crate::denylist::Denylist;
use crate::domain::{Lifetimes, Network, PublicUrl};
use crate::family_keys::FamilyKeys;
use crate::http::connections::Connections;
use crate::http::cookie::SessionCookie;
use crate::last_seen::LastSeenUpdates;
use crate::limits::Limits;
use crate::metrics;
use crate::redis::Redis;
use crate::repeats::Repeats;
use crate::tasks::Tasks;

/// The shared state, created once for all workers.
pub struct State {
    /// Stellar network of the wallets.
    pub network: Network,
    /// The URL that clients use.
    pub public_url: PublicUrl,
    /// Lifetimes of credentials and sessions.
    pub lifetimes: Lifetimes,
    /// A session is revoked if retries from other networks occur for this number of consecutive
    /// refresh tokens; 0 if such retries never end a session.
    pub foreign_generations: u16,
    /// Maximum number of live sessions per account.
    pub session_limit: u32,
    /// The database's time; see [`State::now`].
    pub clock: Clock,
    /// Secrets that authenticate challenges and tokens.
    pub secrets: Secrets,
    /// Cached keys of token families (the refresh tokens of one session).
    pub family_keys: FamilyKeys,
    /// Issues and verifies challenges.
    pub challenges: ChallengeIssuer,
    /// Issues and verifies access tokens; contains the signing keys.
    pub access_tokens: AccessTokens,
    /// Services that may introspect and revoke tokens.
    pub clients: Arc<ClientCheck>,
    /// Connections to PostgreSQL.
    pub database: Database,
    /// Revoked sessions in Redis.
    pub denylist: Denylist,
    /// Queued last-seen updates of cookie sessions.
    pub last_seen: LastSeenUpdates,
    /// The session cookie.
    pub cookie: SessionCookie,
    /// Origins whose pages may send state-changing requests with a cookie.
    pub origins: Vec<String>,
    /// Authentication of operators.
    pub admin: Admin,
    /// Rate limits.
    pub limits: Limits,
    /// Counts of repeated rejections, for the log.
    pub repeats: Repeats,
    /// Connections of the API port.
    pub connections: Arc<Connections>,
    /// Proxies whose forwarding headers are trusted.
    pub trusted_proxies: TrustedProxies,
    /// Hosts that the operations port and the operators' endpoints accept in `Host`.
    pub ops_hosts: OpsHosts,
    /// Limits on connections and requests.
    pub bounds: Bounds,
    /// Work that outlives the request that started it.
    pub tasks: Tasks,
}

impl State {
    /// Creates the state. Must be called on the runtime that drives the database connections.
    pub fn new(config: &Config) -> anyhow::Result<Self> {
        let keys = SigningKeys::read(&config.signing_keys_dir, config.signing_key_delay)?;
        metrics::show_signing_keys(&keys);
        let lifetimes = config.lifetimes;
        let redis = Arc::new(Redis::new(&config.redis));
        Ok(Self {
            network: config.network,
            public_url: config.public_url.clone(),
            lifetimes,
            foreign_generations: config.foreign_generations,
            session_limit: config.session_limit,
            clock: Clock::new(),
            secrets: config.secrets.clone(),
            family_keys: FamilyKeys::default(),
            challenges: ChallengeIssuer::new(
                config.secrets.clone(),
                config.public_url.clone(),
                config.network,
                lifetimes.challenge,
            ),
            access_tokens: AccessTokens::new(
                keys,
                config.issuer.clone(),
                config.audience.clone(),
                lifetimes.access_token,
            ),
            clients: Arc::new(ClientCheck::new(config.clients.clone())?),
            database: Database::new(
                schema::pool::build(config.database.connect.clone(), config.database.pool),
                config.database.pool.size,
                config.database.query_bound(),
            ),
            admin: Admin::new(config.admin_token.clone()),
            limits: Limits::new(Arc::clone(&redis), config.rate_limit),
            repeats: Repeats::default(),
            connections: Arc::new(Connections::new(&config.bounds, config.trusted_proxies.clone())),
            trusted_proxies: config.trusted_proxies.clone(),
            ops_hosts: config.ops_hosts.clone(),
            bounds: config.bounds,
            denylist: Denylist::new(redis, lifetimes.access_token, config.denylist_sync_interval),
            last_seen: LastSeenUpdates::new(),
            cookie: SessionCookie { insecure: config.cookie_insecure },
            origins: [&config.public_url.origin]
                .into_iter()
                .chain(&config.allowed_origins)
                .cloned()
                .collect(),
            tasks: Tasks::new(),
        })
    }
}

impl State {
    /// Returns the database's time, advanced by this machine's monotonic clock. Fails until the
    /// database has returned its time once, because until then it is unknown which credentials have
    /// expired.
    pub fn now(&self) -> Result<DateTime<Utc>, NotSynchronized> {
        self.clock.now().ok_or(NotSynchronized)
    }
}
