//! Lists the columns of those tables of presets (the built-in targets of known applications) whose
//! names are common. A table with a distinctive name needs no such list.

/// Tables that reference the tables of a preset, and belong to the same project. The preset takes
/// the rows of these tables into account.
pub(super) const REFERRERS: &[&str] = &[
    "token_families",
    "mfa_amr_claims",
    "oauth_openid_requests",
    "spring_session_attributes",
    "token_blacklist_blacklistedtoken",
    "SamlLogoutSessionRequestIndices",
    "compat_sessions",
    "compat_sso_logins",
    "upstream_oauth_authorization_sessions",
    "user_email_authentications",
    "user_session_authentications",
];

/// A table of a preset.
pub(super) struct Shape {
    preset: &'static str,
    table: &'static str,
    /// All columns of the table in the versions that the preset supports.
    pub(super) columns: &'static [&'static str],
    /// The minimum number of these columns that must exist.
    pub(super) least: usize,
}

#[rustfmt::skip]
const SHAPES: &[Shape] = &[
    Shape { preset: "auth-api", table: "consumed_challenges", least: 2, columns: &["nonce_hash", "expires_at"] },
    Shape { preset: "authjs", table: "sessions", least: 4, columns: &["id", "userId", "expires", "sessionToken"] },
    Shape { preset: "authjs", table: "verification_token", least: 3, columns: &["identifier", "expires", "token"] },
    Shape {
        preset: "better-auth", table: "session", least: 6,
        columns: &["id", "expiresAt", "token", "createdAt", "updatedAt", "ipAddress", "userAgent", "userId"],
    },
    Shape {
        preset: "better-auth", table: "verification", least: 4,
        columns: &["id", "identifier", "value", "expiresAt", "createdAt", "updatedAt"],
    },
    Shape { preset: "connect-pg-simple", table: "session", least: 3, columns: &["sid", "sess", "expire"] },
    Shape { preset: "keycloak", table: "revoked_token", least: 2, columns: &["id", "expire"] },
    Shape {
        preset: "laravel", table: "sessions", least: 6,
        columns: &["id", "user_id", "ip_address", "user_agent", "payload", "last_activity"],
    },
    Shape {
        preset: "laravel-passport", table: "oauth_access_tokens", least: 8,
        columns: &["id", "user_id", "client_id", "name", "scopes", "revoked", "created_at", "updated_at", "expires_at"],
    },
    Shape {
        preset: "laravel-passport", table: "oauth_refresh_tokens", least: 4,
        columns: &["id", "access_token_id", "revoked", "expires_at"],
    },
    Shape {
        preset: "laravel-passport", table: "oauth_auth_codes", least: 6,
        columns: &["id", "user_id", "client_id", "scopes", "revoked", "expires_at"],
    },
    Shape {
        preset: "laravel-passport", table: "oauth_device_codes", least: 8,
        columns: &[
            "id", "user_id", "client_id", "user_code", "scopes", "interval", "revoked", "user_approved_at", "last_polled_at",
            "expires_at",
        ],
    },
    Shape {
        preset: "laravel-sanctum", table: "personal_access_tokens", least: 7,
        columns: &[
            "id", "tokenable_type", "tokenable_id", "name", "token", "abilities", "last_used_at", "expires_at", "created_at",
            "updated_at",
        ],
    },
    Shape {
        preset: "matrix-authentication-service", table: "user_sessions", least: 4,
        columns: &[
            "user_session_id", "user_id", "created_at", "finished_at", "user_agent", "last_active_at", "last_active_ip",
        ],
    },
    // This preset covers a common pattern, not a single project, so the names of the other columns
    // vary.
    Shape {
        preset: "prisma-refresh-tokens", table: "refresh_tokens", least: 3,
        columns: &["id", "user_id", "token_hash", "family", "expires_at", "revoked_at", "created_at"],
    },
    Shape { preset: "tower-sessions", table: "session", least: 3, columns: &["id", "data", "expiry_date"] },
];

/// Returns the entry of this list for a table of a preset, if there is one.
pub(super) fn shape(preset: &str, table: &str) -> Option<&'static Shape> {
    SHAPES.iter().find(|shape| shape.preset == preset && shape.table == table)
}
