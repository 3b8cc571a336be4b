use std::time::Duration;

use secrecy::SecretString;
use url::{Host, Url};

use super::{AuthClient, Inner};
use crate::error::Error;
use crate::http::Http;
use crate::introspection::Introspection;
use crate::keys::KeyRing;
use crate::sessions::SessionSource;
use crate::token::Rules;

/// Two hosts that ask a time server are less than a second apart; this is for those that do not.
const LEEWAY: Duration = Duration::from_secs(30);
/// auth-api forgets that a session is denied a minute after its last access token has expired:
/// whoever accepts one for longer accepts those of revoked sessions.
const LONGEST_LEEWAY: Duration = Duration::from_mins(1);
/// auth-api answers in milliseconds; a user waits for this no longer than for anything else.
const TIMEOUT: Duration = Duration::from_secs(3);
/// One set of keys in ten seconds is nothing to auth-api, whatever others send us; and a key is
/// published for minutes before it signs (`SIGNING_KEY_DELAY`), so nobody waits for it.
const KEYS_PAUSE: Duration = Duration::from_secs(10);
/// Tokens are good for half an hour at the most: where auth-api is away for longer there are none
/// left that a key could verify, and a day later no key is worth keeping.
const KEYS_MAX_STALE: Duration = Duration::from_hours(24);

/// How to know auth-api. Everything but the URL has a default.
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
            keys_pause: KEYS_PAUSE,
            keys_max_stale: KEYS_MAX_STALE,
            credentials: None,
            sessions: None,
        }
    }

    /// `ISSUER` of auth-api, letter by letter. Default: the URL, as for auth-api.
    pub fn issuer(mut self, issuer: impl Into<String>) -> Self {
        self.issuer = Some(issuer.into());
        self
    }

    /// `AUDIENCE` of auth-api, letter by letter. Default: the URL, as for auth-api.
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.audience = Some(audience.into());
        self
    }

    /// For how long a token is accepted after it has expired, and how far in the future it may have
    /// been made: whole seconds, a minute at the most. Default: 30 seconds.
    pub fn leeway(mut self, leeway: Duration) -> Self {
        self.leeway = leeway;
        self
    }

    /// Bounds each request to auth-api. Default: 3 seconds.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Between two fetches of the keys, at least, however many tokens come that name an unknown
    /// one. Default: 10 seconds.
    pub fn keys_pause(mut self, pause: Duration) -> Self {
        self.keys_pause = pause;
        self
    }

    /// For how long the keys are good when auth-api cannot be reached. Default: 24 hours.
    pub fn keys_max_stale(mut self, max_stale: Duration) -> Self {
        self.keys_max_stale = max_stale;
        self
    }

    /// What `auth-api clients add` has printed: who we are when we ask for more than keys.
    pub fn credentials(mut self, id: impl Into<String>, secret: impl Into<SecretString>) -> Self {
        self.credentials = Some((id.into(), secret.into()));
        self
    }

    /// Who is asked first whether a session stands. Default: nobody but auth-api.
    pub fn sessions(mut self, source: impl SessionSource + 'static) -> Self {
        self.sessions = Some(Box::new(source));
        self
    }

    /// Checks the settings. Asks nobody.
    pub fn build(self) -> Result<AuthClient, Error> {
        let Self { url, issuer, audience, leeway, timeout, .. } = self;
        if leeway > LONGEST_LEEWAY {
            return Err(Error::setting(
                "leeway",
                "a minute at the most: auth-api denies a revoked session for no longer",
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

/// The URL that paths are put behind. It stands in errors and logs: no secret may be in it.
fn base(url: &str) -> Result<&str, Error> {
    let parsed = Url::parse(url).map_err(|error| Error::setting("url", error.to_string()))?;
    match parsed.scheme() {
        "https" => {}
        "http" if is_loopback(&parsed) => {}
        // Keys that anybody on the way can replace verify whatever tokens he likes, and credentials
        // would be there to read.
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
        // Never resolved elsewhere (RFC 6761 §6.3).
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        None => false,
    }
}
