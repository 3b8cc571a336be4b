/// A rate-limited route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Route {
    /// POST /auth/challenge
    #[strum(serialize = "/auth/challenge")]
    Challenge,
    /// POST /auth/login
    #[strum(serialize = "/auth/login")]
    Login,
    /// POST /auth/refresh
    #[strum(serialize = "/auth/refresh")]
    Refresh,
    /// POST /oauth/introspect from a client that is not authenticated
    #[strum(serialize = "/oauth/introspect")]
    Introspect,
    /// POST /oauth/revoke from a client that is not authenticated
    #[strum(serialize = "/oauth/revoke")]
    Revoke,
    /// POST /auth/logout
    #[strum(serialize = "/auth/logout")]
    Logout,
    /// GET /auth/session
    #[strum(serialize = "/auth/session")]
    Session,
    /// GET and DELETE /auth/sessions
    #[strum(serialize = "/auth/sessions")]
    Sessions,
    /// DELETE /auth/sessions/{id}
    #[strum(serialize = "/auth/sessions/{id}")]
    OneSession,
}

impl Route {
    /// All routes.
    pub const ALL: &'static [Self] = <Self as strum::VariantArray>::VARIANTS;

    /// The routes whose requests are counted in Redis, so that all processes share the counts.
    pub(super) const SHARED: [Self; 5] =
        [Self::Challenge, Self::Login, Self::Refresh, Self::Introspect, Self::Revoke];

    /// Returns the path template of the route, which is also the value of the label `route` in the
    /// other metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// Returns the scopes (the properties by which requests are counted) that apply to the route.
    #[must_use]
    pub fn scopes(self) -> &'static [Scope] {
        match self {
            Self::Login => Scope::ALL,
            Self::Refresh | Self::Logout | Self::Session | Self::Sessions | Self::OneSession => {
                &[Scope::Ip, Scope::Address]
            }
            Self::Challenge | Self::Introspect | Self::Revoke => &[Scope::Ip],
        }
    }

    pub(super) fn key(self) -> &'static str {
        self.as_str().rsplit('/').next().unwrap_or_default()
    }
}

/// The property by which a request is counted, as a metric label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Scope {
    /// The network that the request comes from: an IPv4 address, or the /64, the /56, and the /48
    /// of an IPv6 address.
    Ip,
    /// The wallet or the session that the request concerns.
    Address,
    /// The network that a new account comes from: the /24 of an IPv4 address, or the /48 of an IPv6
    /// address.
    NewAccounts,
}

impl Scope {
    /// All scopes.
    pub const ALL: &'static [Self] = <Self as strum::VariantArray>::VARIANTS;

    /// Returns the value of the label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}
