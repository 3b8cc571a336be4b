use std::time::Duration;

use secrecy::SecretString;
use url::{Host, Url};

use super::{AuthClient, Inner};
use crate::error::Error;
use crate::http::Http;
use crate::introspection::Introspection;
use crate::keys::{self, KeyRing};
use crate::sessions::SessionSource;
use crate::token::Rules;

/// The default leeway for differences between clocks. The clocks of synchronized hosts differ by
/// less than a second, so it is meant for hosts whose clocks are not synchronized.
const LEEWAY: Duration = Duration::from_secs(30);
/// auth-api removes a revoked session from its denylist (the list of revoked sessions in Redis) a
/// minute after the last access token of the session has expired. With a leeway of more than a
/// minute, tokens of revoked sessions would be accepted.
const LONGEST_LEEWAY: Duration = Duration::from_mins(1);
/// The default time limit of a request. auth-api normally responds in milliseconds. If it does not
/// respond, the limit prevents long waits for users.
const TIMEOUT: Duration = Duration::from_secs(3);

/// The settings of an [`AuthClient`]. Everything except the URL has a default.
#[must_use]
pub struct Builder {
    url: String,
    issuer: Option<String>,
    audience: Option<String>,
    leeway: Duration,
    timeout: Duration,
    keys_pause: Duration,
    keys_max_stale: Duration,
    credentials: Option<(String, SecretString)>,
    sessions: Option<Box<dyn SessionSource>>,
}

impl Builder {
    pub(crate) fn new(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            issuer: None,
            audience: None,
            leeway: LEEWAY,
            timeout: TIMEOUT,
            keys_pause: keys::FETCH_INTERVAL,
            keys_max_stale: keys::MAX_STALE,
            credentials: None,
            sessions: None,
        }
    }

    /// Sets the issuer of accepted tokens. It must be exactly the `ISSUER` of auth-api. Default:
    /// the URL of auth-api, which is also the default in auth-api.
    pub fn issuer(mut self, issuer: impl Into<String>) -> Self {
        self.issuer = Some(issuer.into());
        self
    }

    /// Sets the audience of accepted tokens. It must be exactly the `AUDIENCE` of auth-api.
    /// Default: the URL of auth-api, which is also the default in auth-api.
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.audience = Some(audience.into());
        self
    }

    /// Sets how long a token is accepted after it has expired, and how far in the future its time
    /// of issue may be. The leeway is counted in whole seconds and is at most a minute. Default: 30
    /// seconds.
    pub fn leeway(mut self, leeway: Duration) -> Self {
        self.leeway = leeway;
        self
    }

    /// Sets the time limit of each request to auth-api. Default: 3 seconds.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets the minimum time between two requests for keys. This limits the requests if many tokens
    /// name unknown keys. Default: 10 seconds.
    pub fn keys_pause(mut self, pause: Duration) -> Self {
        self.keys_pause = pause;
        self
    }

    /// Sets how long fetched keys are used if newer keys cannot be fetched. Default: 24 hours.
    pub fn keys_max_stale(mut self, max_stale: Duration) -> Self {
        self.keys_max_stale = max_stale;
        self
    }

    /// Sets the client id and the client secret, which `auth-api clients add` printed.
    /// Introspection and revocation require these credentials.
    pub fn credentials(mut self, id: impl Into<String>, secret: impl Into<SecretString>) -> Self {
        self.credentials = Some((id.into(), secret.into()));
        self
    }

    /// Sets a source that determines whether a session was revoked. auth-api is queried only if the
    /// source cannot determine this. Default: no source; auth-api is always queried.
    pub fn sessions(mut self, source: impl SessionSource + 'static) -> Self {
        self.sessions = Some(Box::new(source));
        self
    }

    /// Validates the settings and creates the client. Sends no requests.
    pub fn build(self) -> Result<AuthClient, Error> {
        let Self { url, issuer, audience, leeway, timeout, .. } = self;
        if leeway > LONGEST_LEEWAY {
            return Err(Error::setting(
                "leeway",
                "must be at most a minute, because auth-api denies a revoked session for no longer",
            ));
        }
        let base = base(&url)?;
        let at = |path: &str| {
            let url = format!("{base}{path}");
            url.parse::<Url>().map_err(|error| Error::setting("url", error.to_string()))
        };
        let issuer = issuer.unwrap_or_else(|| url.clone());
        let audience = audience.unwrap_or_else(|| url.clone());
        let http = Http::new(timeout).map_err(|reason| Error::setting("TLS", reason))?;
        let keys = KeyRing::new(
            http.clone(),
            at("/.well-known/jwks.json")?,
            self.keys_pause,
            self.keys_max_stale,
        );
        Ok(AuthClient::new(Inner {
            rules: Rules::new(&issuer, &audience, leeway),
            issuer,
            audience,
            keys,
            introspection: Introspection {
                http,
                introspect_url: at("/oauth/introspect")?,
                revoke_url: at("/oauth/revoke")?,
                credentials: self.credentials,
            },
            sessions: self.sessions,
        }))
    }
}

/// Validates the URL of auth-api, to which paths are appended. The URL must not contain a secret,
/// because it appears in errors and logs.
fn base(url: &str) -> Result<&str, Error> {
    let parsed = Url::parse(url).map_err(|error| Error::setting("url", error.to_string()))?;
    match parsed.scheme() {
        "https" => {}
        "http" if is_loopback(&parsed) => {}
        // Over plain HTTP, an attacker on the network could read the client credentials. The
        // attacker could also replace the keys and then forge tokens.
        "http" => {
            return Err(Error::setting(
                "url",
                "must begin with https://; http:// is only for this machine (localhost, 127.0.0.1, [::1])",
            ));
        }
        _ => return Err(Error::setting("url", "must begin with https://")),
    }
    if !parsed.username().is_empty()
        || parsed.password().is_some()
        || parsed.query().is_some()
        || parsed.fragment().is_some()
    {
        return Err(Error::setting("url", "must have no user, query or fragment"));
    }
    Ok(url.trim_end_matches('/'))
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        // Resolvers return a loopback address for these names and do not query name servers (RFC
        // 6761 §6.3).
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        None => false,
    }
}
