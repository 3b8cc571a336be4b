//! The public keys of auth-api, which are fetched on first use, cached, and refreshed.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use jsonwebtoken::DecodingKey;
use reqwest::StatusCode;
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::{Mutex, OwnedMutexGuard};
use url::Url;

use crate::Error;
use crate::http::{Answer, Http};

/// Minimum interval between requests for keys. One request every ten seconds is a negligible load
/// for auth-api, whatever tokens this service receives. A key is published minutes before auth-api
/// signs tokens with it (`SIGNING_KEY_DELAY`), so no genuine token is rejected because of this
/// interval.
pub(crate) const FETCH_INTERVAL: Duration = Duration::from_secs(10);
/// How long a set of keys is used if no newer set can be fetched. A token is valid for at most half
/// an hour, so after a day without auth-api, no valid token exists, and no key is needed.
pub(crate) const MAX_STALE: Duration = Duration::from_hours(24);

/// The maximum number of keys in a set. auth-api publishes the keys whose tokens may still be
/// valid, which are usually two or three. If there are more keys than this limit, only the newest
/// ones are kept, because auth-api signs with one of these now or later. If the whole set were
/// rejected instead, all tokens would be rejected.
const MAX_KEYS: usize = 64;

/// The response with a set specifies how long the set is fresh. This constant and the next one are
/// the minimum and the maximum of this time. The last one is the default, which applies if the
/// response specifies no time. The maximum is short enough that retired keys are soon removed. The
/// minimum is long enough that most requests need no new set. The default is equal to the time that
/// auth-api specifies.
const FRESH_AT_LEAST: Duration = Duration::from_secs(10);
const FRESH_AT_MOST: Duration = Duration::from_hours(1);
const FRESH_BY_DEFAULT: Duration = Duration::from_mins(5);

/// Minimum time between a failed request for keys and the next request. This time is short, because
/// no token is accepted while there are no keys.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(1);

/// A set of keys that was fetched.
struct KeySet {
    keys: HashMap<String, DecodingKey>,
    fetched_at: Instant,
    fresh_for: Duration,
}

/// The members of a JWK that this crate uses (RFC 7517 §4, RFC 8037 §2).
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    crv: String,
    #[serde(rename = "use")]
    used_for: String,
    #[serde(default)]
    alg: Option<String>,
    kid: String,
    x: String,
}

#[derive(Deserialize)]
struct Jwks {
    keys: Vec<Value>,
}

impl KeySet {
    /// Reads the keys for Ed25519 signatures. Other keys are ignored (RFC 7517 §5).
    fn read(answer: &Answer) -> Result<Self, String> {
        if answer.status != StatusCode::OK {
            return Err(format!("a response with status {}", answer.status));
        }
        let set: Jwks = serde_json::from_slice(&answer.body)
            .map_err(|error| format!("not a JWK set: {error}"))?;
        let published = set.keys.len();
        // The oldest keys come first.
        let keys: HashMap<_, _> =
            set.keys.into_iter().rev().filter_map(verifier).take(MAX_KEYS).collect();
        if published > MAX_KEYS {
            tracing::warn!(
                event = "many_signing_keys",
                published,
                kept = keys.len(),
                "auth-api publishes many signing keys; delete expired ones with `auth-api keys retire`"
            );
        }
        if keys.is_empty() {
            return Err("a set without an Ed25519 key".to_owned());
        }
        let fresh_for =
            answer.max_age.unwrap_or(FRESH_BY_DEFAULT).clamp(FRESH_AT_LEAST, FRESH_AT_MOST);
        Ok(Self { keys, fetched_at: Instant::now(), fresh_for })
    }

    fn get(&self, kid: &str) -> Result<DecodingKey, Error> {
        self.keys.get(kid).cloned().ok_or(Error::UnknownKey)
    }
}

fn verifier(jwk: Value) -> Option<(String, DecodingKey)> {
    let jwk: Jwk = serde_json::from_value(jwk).ok()?;
    let ours = jwk.kty == "OKP" && jwk.crv == "Ed25519" && jwk.used_for == "sig";
    // 43 characters of base64url contain 32 bytes.
    let is_complete = jwk.x.len() == 43;
    if !ours || !is_complete || jwk.alg.is_some_and(|alg| alg != "EdDSA" && alg != "Ed25519") {
        return None;
    }
    Some((jwk.kid, DecodingKey::from_ed_components(&jwk.x).ok()?))
}

/// The result of the last request for keys. Callers that need new keys shortly after that request
/// get this result instead of sending another request.
struct Attempt {
    at: Instant,
    failure: Option<String>,
}

/// The cached keys. New keys are fetched by one request at a time, and all callers that need new
/// keys wait for that request.
#[derive(Clone)]
pub(crate) struct KeyRing(Arc<Shared>);

struct Shared {
    http: Http,
    url: Url,
    /// Minimum time between two requests.
    pause: Duration,
    /// Maximum age of a set, even if no newer set is available.
    max_stale: Duration,
    known: ArcSwapOption<KeySet>,
    /// The result of the last request. Only the task that holds this lock may send a request.
    last: Arc<Mutex<Option<Attempt>>>,
    failing: AtomicBool,
}

impl KeyRing {
    pub(crate) fn new(http: Http, url: Url, pause: Duration, max_stale: Duration) -> Self {
        Self(Arc::new(Shared {
            http,
            url,
            pause,
            max_stale,
            known: ArcSwapOption::empty(),
            last: Arc::default(),
            failing: AtomicBool::new(false),
        }))
    }

    /// Returns the key with this id.
    ///
    /// The caller waits for a new set only in three cases: there is no set; the set does not
    /// contain this id; or the set is older than twice the time for which it is fresh. (A set
    /// becomes this old if it has not been used for a while. It may then contain a key that has
    /// been retired since.) Otherwise, the old set is used while a new set is being fetched. The
    /// old set is also used as long as fetching fails.
    pub(crate) async fn find(&self, kid: &str) -> Result<DecodingKey, Error> {
        let known =
            self.0.known.load_full().filter(|set| set.fetched_at.elapsed() < self.0.max_stale);
        let Some((set, key)) = known.and_then(|set| set.get(kid).ok().map(|key| (set, key))) else {
            return self.refreshed().await?.get(kid);
        };
        let age = set.fetched_at.elapsed();
        if age < set.fresh_for {
            return Ok(key);
        }
        if age < set.fresh_for * 2 || self.0.failing.load(Ordering::Relaxed) {
            self.refresh_in_background();
            return Ok(key);
        }
        match self.refreshed().await {
            Ok(set) => set.get(kid),
            Err(_) => Ok(key),
        }
    }

    /// Returns the newest set. Fetches a new set unless a fetch was attempted recently.
    async fn refreshed(&self) -> Result<Arc<KeySet>, Error> {
        let last = Arc::clone(&self.0.last).lock_owned().await;
        if let Some(attempt) = self.0.recent(last.as_ref()) {
            return self.0.outcome(attempt);
        }
        // Fetch in a separate task, because this caller may be dropped while other callers wait for
        // the result.
        let fetching = tokio::spawn(fetch(Arc::clone(&self.0), last));
        fetching
            .await
            .unwrap_or_else(|_| Err(Error::KeysUnavailable("the request was aborted".to_owned())))
    }

    /// Starts to fetch a new set and returns immediately. Does nothing if a fetch is in progress or
    /// was attempted recently.
    fn refresh_in_background(&self) {
        if let Ok(last) = Arc::clone(&self.0.last).try_lock_owned()
            && self.0.recent(last.as_ref()).is_none()
        {
            tokio::spawn(fetch(Arc::clone(&self.0), last));
        }
    }
}

async fn fetch(
    shared: Arc<Shared>,
    mut last: OwnedMutexGuard<Option<Attempt>>,
) -> Result<Arc<KeySet>, Error> {
    let answer = shared.http.get(&shared.url).await;
    let failure = match answer.and_then(|answer| KeySet::read(&answer)) {
        Ok(set) => {
            tracing::debug!(
                event = "keys_fetched",
                keys = set.keys.len(),
                "signing keys fetched from auth-api"
            );
            shared.known.store(Some(Arc::new(set)));
            None
        }
        Err(reason) => {
            tracing::warn!(event = "keys_fetch_failed", url = %shared.url, %reason, "signing keys not fetched from auth-api");
            Some(reason)
        }
    };
    shared.failing.store(failure.is_some(), Ordering::Relaxed);
    shared.outcome(last.insert(Attempt { at: Instant::now(), failure }))
}

impl Shared {
    /// Returns the last attempt if it is too early for another one.
    fn recent<'a>(&self, last: Option<&'a Attempt>) -> Option<&'a Attempt> {
        let pause = |attempt: &Attempt| {
            if attempt.failure.is_some() { self.pause.min(PAUSE_AFTER_FAILURE) } else { self.pause }
        };
        last.filter(|attempt| attempt.at.elapsed() < pause(attempt))
    }

    fn outcome(&self, attempt: &Attempt) -> Result<Arc<KeySet>, Error> {
        match &attempt.failure {
            Some(reason) => Err(Error::KeysUnavailable(reason.clone())),
            None => self
                .known
                .load_full()
                .ok_or_else(|| Error::KeysUnavailable("none were received".to_owned())),
        }
    }
}
