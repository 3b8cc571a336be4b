//! The defaults of settings. `docs/configuration.md` lists the defaults, and a test compares that
//! page with the defaults in effect.
//!
//! The defaults of the rate limits are in `limits`. The defaults of the limits on connections and
//! requests are in `bounds`.

use std::time::Duration;

/// Lifetime of an access token.
pub(super) const ACCESS_TOKEN_TTL: Duration = Duration::from_mins(15);

/// Address and port of the operators' endpoints.
pub(super) const ADMIN_BIND: &str = "127.0.0.1:9082";

/// Address and port of the API.
pub(super) const BIND: &str = "127.0.0.1:8080";

/// Lifetime of a challenge.
pub(super) const CHALLENGE_TTL: Duration = Duration::from_mins(5);

/// The maximum time that a request waits for a database connection. It is longer than any statement
/// takes under load, and shorter than the time that a person is willing to wait.
pub(super) const DATABASE_CHECKOUT_TIMEOUT: Duration = Duration::from_secs(2);

/// Idle time after which an unused connection is closed.
pub(super) const DATABASE_IDLE_TIMEOUT: Duration = Duration::from_mins(5);

/// Maximum number of database connections.
pub(super) const DATABASE_POOL_SIZE: &str = "16";

/// Time limit for a statement. The statements for clients' requests look up rows by key. If such a
/// statement takes seconds, it is waiting for a lock or for a failing disk.
pub(super) const DATABASE_STATEMENT_TIMEOUT: Duration = Duration::from_secs(5);

/// Interval between two rebuilds of the denylist, the list of revoked sessions in Redis. If Redis
/// loses the entry of a revoked session, the entry is restored after at most this time.
pub(super) const DENYLIST_SYNC_INTERVAL: Duration = Duration::from_secs(30);

/// Address and port of health checks and metrics.
pub(super) const OPS_BIND: &str = "127.0.0.1:9080";

/// Timeout for a Redis command. The limit is far longer than a lookup takes (0.1 ms) and far
/// shorter than a delay that a user notices.
pub(super) const REDIS_TIMEOUT: Duration = Duration::from_millis(50);

/// A session is revoked after retries from other networks for this number of consecutive refresh
/// tokens. A single such retry can come from a client that changed its network while a response was
/// in transit. An attacker who follows the rotations causes such a retry for each token.
pub(super) const REFRESH_FOREIGN_GENERATIONS: &str = "2";

/// Maximum number of live sessions per account.
pub(super) const SESSION_LIMIT: &str = "10";

/// Absolute lifetime of a session.
pub(super) const SESSION_MAX_AGE: Duration = Duration::from_hours(90 * 24);

/// Sliding lifetime of a session: a session expires if it is not used for this long.
pub(super) const SESSION_TTL: Duration = Duration::from_hours(30 * 24);

/// Time limit for requests in progress at shutdown. The limit is shorter than the 30 seconds that
/// supervisors commonly allow between SIGTERM and SIGKILL.
pub(super) const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(20);

/// Age at which a key starts to sign. The delay is longer than the time for which verifiers cache
/// the published keys.
pub(super) const SIGNING_KEY_DELAY: Duration = Duration::from_mins(10);

/// Stellar network of the wallets.
pub(super) const STELLAR_NETWORK: &str = "pubnet";
