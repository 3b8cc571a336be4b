/// What is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// POST /auth/challenge
    Challenge,
    /// POST /auth/login
    Login,
    /// POST /auth/refresh
    Refresh,
    /// POST /oauth/introspect, without the credentials of a client
    Introspect,
    /// POST /oauth/revoke, the same
    Revoke,
    /// POST /auth/logout
    Logout,
    /// GET /auth/session
    Session,
    /// GET and DELETE /auth/sessions
    Sessions,
    /// DELETE /auth/sessions/{id}
    OneSession,
}

impl Route {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Challenge,
        Self::Login,
        Self::Refresh,
        Self::Introspect,
        Self::Revoke,
        Self::Logout,
        Self::Session,
        Self::Sessions,
        Self::OneSession,
    ];

    /// Those that all processes count together.
    pub(super) const SHARED: [Self; 5] =
        [Self::Challenge, Self::Login, Self::Refresh, Self::Introspect, Self::Revoke];

    /// Its template, as in the other metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Challenge => "/auth/challenge",
            Self::Login => "/auth/login",
            Self::Refresh => "/auth/refresh",
            Self::Introspect => "/oauth/introspect",
            Self::Revoke => "/oauth/revoke",
            Self::Logout => "/auth/logout",
            Self::Session => "/auth/session",
            Self::Sessions => "/auth/sessions",
            Self::OneSession => "/auth/sessions/{id}",
        }
    }

    /// By what its requests are counted.
    #[must_use]
    pub fn scopes(self) -> &'static [Scope] {
        match self {
            Self::Login => &Scope::ALL,
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

/// By what a request is counted, as metrics have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The network that it comes from: an IPv4 address, or the /64, the /56 and the /48 of an IPv6
    /// address.
    Ip,
    /// Whom it is about: the wallet, or the session.
    Address,
    /// The network that a new account comes from: the /24 of an IPv4 address, or the /48 of an IPv6
    /// address.
    NewAccounts,
}

impl Scope {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Ip, Self::Address, Self::NewAccounts];

    /// The label's value.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ip => "ip",
            Self::Address => "address",
            Self::NewAccounts => "new_accounts",
        }
    }
}
