//! Each preset on tables as its project creates them: exactly the due rows are deleted. Separate
//! SQL, written from the preset's page in `docs/presets/`, determines the due rows.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    missing_docs,
    reason = "a test fails by panicking, and is its own documentation"
)]

use crate::preset_tables as tables;

use tables::{Case, deletes_exactly_the_due_rows_by, epoch, made, on_tables_as_written, reap_by};
use testkit::{Database, expired_sessions};

#[tokio::test]
async fn connect_pg_simple_preset_deletes_exactly_the_due_rows() {
    on_tables_as_written(Case {
        preset: "connect-pg-simple",
        tables: &[("public", "session")],
        columns: &[],
        due: "DELETE FROM session WHERE expire < :utc - interval '1 day'",
    })
    .await;
}

#[tokio::test]
async fn django_preset_deletes_exactly_the_due_rows() {
    on_tables_as_written(Case {
        preset: "django",
        tables: &[("public", "django_session")],
        columns: &[],
        due: "DELETE FROM django_session WHERE expire_date < :now - interval '1 day'",
    })
    .await;
}

#[tokio::test]
async fn tower_sessions_preset_deletes_exactly_the_due_rows() {
    on_tables_as_written(Case {
        preset: "tower-sessions",
        tables: &[("tower_sessions", "session")],
        columns: &[],
        due: "DELETE FROM session WHERE expiry_date < :now - interval '1 day'",
    })
    .await;
}

#[tokio::test]
async fn better_auth_preset_deletes_exactly_the_due_rows() {
    on_tables_as_written(Case {
        preset: "better-auth",
        tables: &[("public", "session"), ("public", "verification")],
        columns: &[],
        due: r#"DELETE FROM session WHERE "expiresAt" < :now - interval '1 day';
                DELETE FROM verification WHERE "expiresAt" < :now - interval '1 day'"#,
    })
    .await;
}

#[tokio::test]
async fn authjs_preset_deletes_exactly_the_due_rows() {
    on_tables_as_written(Case {
        preset: "authjs",
        tables: &[("public", "sessions"), ("public", "verification_token")],
        columns: &[],
        due: "DELETE FROM sessions WHERE expires < :now - interval '1 day';
              DELETE FROM verification_token WHERE expires < :now - interval '1 day'",
    })
    .await;
}

#[tokio::test]
async fn prisma_refresh_tokens_preset_deletes_exactly_the_due_rows() {
    on_tables_as_written(Case {
        preset: "prisma-refresh-tokens",
        tables: &[("public", "refresh_tokens")],
        columns: &[("refresh_tokens.family", "'f' || floor(random() * 17000)")],
        due: "DELETE FROM refresh_tokens WHERE family IN (
                  SELECT family FROM refresh_tokens GROUP BY family
                  HAVING bool_and(expires_at < :utc - interval '1 day'
                                  OR coalesce(revoked_at < :utc - interval '7 days', false)))",
    })
    .await;
}

#[tokio::test]
async fn doorkeeper_preset_deletes_exactly_the_due_rows() {
    on_tables_as_written(Case {
        preset: "doorkeeper",
        tables: &[("public", "oauth_access_tokens"), ("public", "oauth_access_grants")],
        columns: &[
            ("oauth_access_tokens.expires_in", "(ARRAY[617, 7213, 200017, NULL])[1 + floor(random() * 4)::int]"),
            ("oauth_access_grants.expires_in", "(ARRAY[617, 7213, 200017])[1 + floor(random() * 3)::int]"),
        ],
        due: "DELETE FROM oauth_access_tokens WHERE revoked_at < :utc - interval '1 day';
              DELETE FROM oauth_access_tokens WHERE refresh_token IS NULL AND created_at < :utc - interval '1 day'
                  AND created_at + expires_in * interval '1 second' < :utc;
              DELETE FROM oauth_access_grants WHERE created_at < :utc - interval '1 day'
                  AND created_at + expires_in * interval '1 second' < :utc",
    })
    .await;
}

#[tokio::test]
async fn django_oauth_toolkit_preset_deletes_exactly_the_due_rows() {
    on_tables_as_written(Case {
        preset: "django-oauth-toolkit",
        tables: &[
            ("public", "oauth2_provider_refreshtoken"),
            ("public", "oauth2_provider_accesstoken"),
            ("public", "oauth2_provider_idtoken"),
            ("public", "oauth2_provider_grant"),
            ("public", "oauth2_provider_devicegrant"),
        ],
        columns: &[
            (
                "oauth2_provider_refreshtoken.token_family",
                "CASE WHEN random() < 0.8 THEN lpad(floor(random() * 25000)::text, 32, '0')::uuid END",
            ),
            ("oauth2_provider_refreshtoken.access_token_id", "CASE WHEN random() < 0.3 THEN i END"),
            ("oauth2_provider_accesstoken.source_refresh_token_id", "CASE WHEN random() < 0.3 THEN i END"),
            ("oauth2_provider_grant.code_challenge_method", "'S256'"),
            ("oauth2_provider_accesstoken.id_token_id", "CASE WHEN random() < 0.5 THEN i END"),
        ],
        due: "CREATE TABLE kept AS SELECT id, token_family FROM oauth2_provider_refreshtoken
                  WHERE revoked IS NULL OR revoked >= :now - interval '1 day'
                      OR id IN (SELECT source_refresh_token_id FROM oauth2_provider_accesstoken);
              DELETE FROM oauth2_provider_refreshtoken WHERE id NOT IN (SELECT id FROM kept) AND (token_family IS NULL
                  OR token_family NOT IN (SELECT token_family FROM kept WHERE token_family IS NOT NULL));
              DELETE FROM oauth2_provider_accesstoken WHERE expires < :now - interval '1 day'
                  AND id NOT IN (SELECT access_token_id FROM oauth2_provider_refreshtoken WHERE access_token_id IS NOT NULL);
              DELETE FROM oauth2_provider_idtoken WHERE expires < :now - interval '1 day'
                  AND id NOT IN (SELECT id_token_id FROM oauth2_provider_accesstoken WHERE id_token_id IS NOT NULL);
              DELETE FROM oauth2_provider_grant WHERE expires < :now - interval '1 day';
              DELETE FROM oauth2_provider_devicegrant WHERE expires < :now - interval '1 day'",
    })
    .await;
}

#[tokio::test]
async fn supabase_auth_preset_deletes_exactly_the_due_rows() {
    on_tables_as_written(Case {
        preset: "supabase-auth",
        tables: &[
            ("auth", "refresh_tokens"),
            ("auth", "sessions"),
            ("auth", "saml_relay_states"),
            ("auth", "flow_state"),
            ("auth", "oauth_client_states"),
            ("auth", "mfa_challenges"),
            ("auth", "webauthn_challenges"),
        ],
        columns: &[
            ("sessions.id", "md5(i::text)::uuid"),
            ("refresh_tokens.session_id", "md5(floor(1 + random() * 100000)::int::text)::uuid"),
            ("webauthn_challenges.challenge_type", "'signup'"),
        ],
        due: "DELETE FROM refresh_tokens WHERE revoked AND updated_at < :now - interval '1 day';
              CREATE TABLE gone AS SELECT id FROM sessions WHERE not_after < :now - interval '3 days';
              DELETE FROM sessions WHERE id IN (SELECT id FROM gone);
              DELETE FROM refresh_tokens WHERE session_id IN (SELECT id FROM gone);
              DELETE FROM saml_relay_states WHERE created_at < :now - interval '1 day';
              DELETE FROM flow_state WHERE created_at < :now - interval '1 day';
              DELETE FROM oauth_client_states WHERE created_at < :now - interval '1 day';
              DELETE FROM mfa_challenges WHERE created_at < :now - interval '1 day';
              DELETE FROM webauthn_challenges WHERE expires_at < :now - interval '1 day'",
    })
    .await;
}

#[tokio::test]
async fn ory_hydra_preset_deletes_exactly_the_due_rows() {
    on_tables_as_written(Case {
        preset: "ory-hydra",
        tables: &[
            ("public", "hydra_oauth2_access"),
            ("public", "hydra_oauth2_refresh"),
            ("public", "hydra_oauth2_code"),
            ("public", "hydra_oauth2_oidc"),
            ("public", "hydra_oauth2_pkce"),
            ("public", "hydra_oauth2_device_auth_codes"),
            ("public", "hydra_oauth2_flow"),
            ("public", "hydra_oauth2_trusted_jwt_bearer_issuer"),
        ],
        columns: &[
            ("hydra_oauth2_flow.state", "CASE WHEN random() < 0.8 THEN floor(random() * 8)::int END"),
            ("hydra_oauth2_flow.login_error", "(ARRAY[NULL, '', '{}', 'x'])[1 + floor(random() * 4)::int]"),
            ("hydra_oauth2_flow.consent_error", "(ARRAY[NULL, '', '{}', 'x'])[1 + floor(random() * 4)::int]"),
        ],
        due: "DELETE FROM hydra_oauth2_access WHERE expires_at < :utc - interval '1 day';
              DELETE FROM hydra_oauth2_refresh WHERE requested_at < :utc - interval '30 days' AND expires_at < :utc;
              DELETE FROM hydra_oauth2_code WHERE expires_at < :utc - interval '1 day';
              DELETE FROM hydra_oauth2_oidc WHERE expires_at < :utc - interval '1 day';
              DELETE FROM hydra_oauth2_pkce WHERE expires_at < :utc - interval '1 day';
              DELETE FROM hydra_oauth2_device_auth_codes WHERE expires_at < :utc - interval '1 day';
              DELETE FROM hydra_oauth2_flow WHERE requested_at < :utc - interval '1 day'
                  AND (state <> 6 OR coalesce(login_error, '') NOT IN ('', '{}') OR coalesce(consent_error, '') NOT IN ('', '{}'));
              DELETE FROM hydra_oauth2_trusted_jwt_bearer_issuer WHERE expires_at < :utc - interval '1 day'",
    })
    .await;
}

#[tokio::test]
async fn spring_session_preset_deletes_exactly_the_due_rows() {
    on_tables_as_written(Case {
        preset: "spring-session",
        tables: &[("public", "spring_session"), ("public", "spring_session_attributes")],
        columns: &[
            ("spring_session.primary_id", "lpad(i::text, 36, '0')"),
            ("spring_session.session_id", "lpad(i::text, 36, '0')"),
            // Spring writes the greatest number for a session that never expires.
            (
                "spring_session.expiry_time",
                concat!(
                    "CASE WHEN random() < 0.2 THEN 9223372036854775807 ELSE (",
                    epoch!(),
                    " * 1000)::bigint END"
                ),
            ),
            ("spring_session_attributes.session_primary_id", "lpad((1 + i / 3)::text, 36, '0')"),
        ],
        due: "CREATE TABLE gone AS SELECT primary_id FROM spring_session
                  WHERE expiry_time < extract(epoch FROM :now - interval '1 day') * 1000;
              DELETE FROM spring_session WHERE primary_id IN (SELECT primary_id FROM gone);
              DELETE FROM spring_session_attributes WHERE session_primary_id IN (SELECT primary_id FROM gone)",
    })
    .await;
}

#[tokio::test]
async fn laravel_preset_deletes_exactly_the_due_rows() {
    on_tables_as_written(Case {
        preset: "laravel",
        tables: &[("public", "sessions")],
        columns: &[("sessions.last_activity", concat!(epoch!(), "::bigint"))],
        due: "DELETE FROM sessions WHERE to_timestamp(last_activity) < :now - interval '30 days'",
    })
    .await;
}

#[tokio::test]
async fn laravel_sanctum_preset_deletes_exactly_the_due_rows() {
    on_tables_as_written(Case {
        preset: "laravel-sanctum",
        tables: &[("public", "personal_access_tokens")],
        columns: &[],
        due: "DELETE FROM personal_access_tokens WHERE expires_at < :utc - interval '1 day'",
    })
    .await;
}

#[tokio::test]
async fn laravel_passport_preset_deletes_exactly_the_due_rows() {
    on_tables_as_written(Case {
        preset: "laravel-passport",
        tables: &[
            ("public", "oauth_refresh_tokens"),
            ("public", "oauth_access_tokens"),
            ("public", "oauth_auth_codes"),
            ("public", "oauth_device_codes"),
        ],
        columns: &[
            ("oauth_refresh_tokens.id", "lpad(i::text, 80, 'r')"),
            ("oauth_refresh_tokens.access_token_id", "lpad((i * 2)::text, 80, 'a')"),
            ("oauth_access_tokens.id", "lpad(i::text, 80, 'a')"),
            ("oauth_auth_codes.id", "lpad(i::text, 80, 'c')"),
            ("oauth_device_codes.id", "lpad(i::text, 80, 'd')"),
            ("oauth_device_codes.user_code", "lpad(i::text, 8, '0')"),
        ],
        due: "DELETE FROM oauth_refresh_tokens WHERE expires_at < :utc - interval '7 days';
              DELETE FROM oauth_access_tokens WHERE expires_at < :utc - interval '7 days'
                  AND id NOT IN (SELECT access_token_id FROM oauth_refresh_tokens);
              DELETE FROM oauth_auth_codes WHERE expires_at < :utc - interval '7 days';
              DELETE FROM oauth_device_codes WHERE expires_at < :utc - interval '7 days'",
    })
    .await;
}

#[tokio::test]
async fn grafana_preset_deletes_exactly_the_due_rows() {
    on_tables_as_written(Case {
        preset: "grafana",
        tables: &[("public", "user_auth_token"), ("public", "user_external_session")],
        columns: &[
            ("user_auth_token.created_at", concat!(epoch!(), "::bigint")),
            ("user_auth_token.rotated_at", concat!(epoch!(), "::bigint")),
            (
                "user_auth_token.revoked_at",
                concat!("CASE floor(random() * 3)::int WHEN 0 THEN 0 WHEN 1 THEN ", epoch!(), "::bigint END"),
            ),
            ("user_auth_token.external_session_id", "CASE WHEN random() < 0.3 THEN i END"),
        ],
        due: "DELETE FROM user_auth_token WHERE to_timestamp(created_at) < :now - interval '31 days'
                  OR to_timestamp(rotated_at) < :now - interval '8 days'
                  OR (revoked_at <> 0 AND to_timestamp(revoked_at) < :now - interval '1 day');
              DELETE FROM user_external_session WHERE created_at < :utc - interval '1 day'
                  AND id NOT IN (SELECT external_session_id FROM user_auth_token WHERE external_session_id IS NOT NULL)",
    })
    .await;
}

#[tokio::test]
async fn simplejwt_preset_deletes_exactly_the_due_rows() {
    on_tables_as_written(Case {
        preset: "simplejwt",
        tables: &[
            ("public", "token_blacklist_outstandingtoken"),
            ("public", "token_blacklist_blacklistedtoken"),
        ],
        columns: &[("token_blacklist_blacklistedtoken.token_id", "i * 2")],
        due: "CREATE TABLE gone AS SELECT id FROM token_blacklist_outstandingtoken
                  WHERE expires_at < :now - interval '1 day';
              DELETE FROM token_blacklist_outstandingtoken WHERE id IN (SELECT id FROM gone);
              DELETE FROM token_blacklist_blacklistedtoken WHERE token_id IN (SELECT id FROM gone)",
    })
    .await;
}

#[tokio::test]
async fn rodauth_preset_deletes_exactly_the_due_rows() {
    on_tables_as_written(Case {
        preset: "rodauth",
        tables: &[
            ("public", "account_active_session_keys"),
            ("public", "account_remember_keys"),
            ("public", "account_jwt_refresh_keys"),
            ("public", "account_password_reset_keys"),
            ("public", "account_email_auth_keys"),
            ("public", "account_login_change_keys"),
        ],
        columns: &[],
        due: "DELETE FROM account_active_session_keys
                  WHERE last_use < :utc - interval '2 days' OR created_at < :utc - interval '31 days';
              DELETE FROM account_remember_keys WHERE deadline < :utc - interval '1 day';
              DELETE FROM account_jwt_refresh_keys WHERE deadline < :utc - interval '1 day';
              DELETE FROM account_password_reset_keys WHERE deadline < :utc - interval '1 day';
              DELETE FROM account_email_auth_keys WHERE deadline < :utc - interval '1 day';
              DELETE FROM account_login_change_keys WHERE deadline < :utc - interval '1 day'",
    })
    .await;
}

/// Nextcloud's tokens of all types, versions 1 and 2, and the SQL that deletes the due ones.
fn nextcloud(due: &'static str) -> Case {
    Case {
        preset: "nextcloud",
        tables: &[("public", "oc_authtoken")],
        columns: &[
            ("oc_authtoken.type", "floor(random() * 4)::int"),
            ("oc_authtoken.remember", "floor(random() * 2)::int"),
            ("oc_authtoken.version", "1 + floor(random() * 2)::int"),
            (
                "oc_authtoken.last_activity",
                concat!(
                    epoch!(),
                    "::bigint - CASE WHEN random() < 0.2 THEN 340 * 86400 ELSE 0 END"
                ),
            ),
        ],
        due,
    }
}

#[tokio::test]
async fn nextcloud_preset_deletes_exactly_the_due_rows() {
    on_tables_as_written(nextcloud(
        "DELETE FROM oc_authtoken WHERE type = 0 AND version = 2
             AND to_timestamp(last_activity) < :now - CASE remember WHEN 0 THEN interval '2 days' ELSE interval '16 days' END",
    ))
    .await;
}

#[tokio::test]
async fn nextcloud_preset_deletes_unused_devices_if_enabled() {
    let target = "[[target]]\ntable = 'oc_authtoken'\n";
    let enabled = format!("{target}enabled = true\n");
    let config = format!("preset = 'nextcloud'\n{target}{target}{enabled}{enabled}");
    let case = nextcloud(
        "DELETE FROM oc_authtoken WHERE version = 2 AND to_timestamp(last_activity) < :now - CASE
             WHEN type = 0 AND remember = 0 THEN interval '2 days' WHEN type = 0 THEN interval '16 days'
             WHEN type = 1 THEN interval '365 days' WHEN type = 2 THEN interval '60 days' END",
    );
    deletes_exactly_the_due_rows_by(&made("nextcloud").await, case, &config).await;
}

#[tokio::test]
async fn auth_api_preset_deletes_sessions_and_unused_accounts() {
    let database = Database::create().await;
    expired_sessions(&database, 250).await;
    let reaped = reap_by(&database, "preset = 'auth-api'").await;
    assert_eq!(reaped.code, Some(0), "{}", reaped.stderr);
    assert_eq!(reaped.target("sessions")["deleted"]["expired"], 250);
    assert_eq!(
        database.one::<i64>("SELECT count(*) FROM accounts").await,
        1,
        "the accounts target is off by default"
    );

    // An account with a live session is kept; an account without a session is deleted.
    database
        .execute(
            "CREATE INDEX ON accounts (last_login_at, id);
             UPDATE accounts SET last_login_at = now() - interval '2 years';
             INSERT INTO accounts (id, issuer, subject, last_login_at)
             VALUES (gen_random_uuid(), 'i', 'held', now() - interval '2 years');
             INSERT INTO sessions (id, account_id, expires_at, absolute_expires_at)
             SELECT gen_random_uuid(), id, 'infinity', 'infinity' FROM accounts WHERE subject = 'held'",
        )
        .await;
    let reaped =
        reap_by(&database, "preset = 'auth-api'\n[[target]]\ntable = 'accounts'\nenabled = true")
            .await;
    assert_eq!(reaped.target("accounts")["deleted"]["unused"], 1, "{}", reaped.stderr);
    assert_eq!(
        database.one::<String>("SELECT string_agg(subject, ',') FROM accounts").await,
        "held"
    );
}

#[tokio::test]
async fn rotated_token_is_kept_while_its_family_is_live() {
    let database = made("prisma-refresh-tokens").await;
    // Forty families of fifty tokens. All tokens of a family except the newest were rotated long
    // ago, and the newest is live in every other family.
    database
        .execute(
            "INSERT INTO users VALUES ('u');
             INSERT INTO refresh_tokens (id, user_id, token_hash, family, expires_at, revoked_at)
             SELECT f || '-' || n, 'u', f || '-' || n, f,
                    CASE WHEN n = 50 AND f % 2 = 0 THEN now() + interval '1 day' ELSE now() - interval '20 days' END,
                    CASE WHEN n < 50 THEN now() - interval '21 days' END
             FROM generate_series(1, 40) AS f, generate_series(1, 50) AS n;
             ANALYZE refresh_tokens",
        )
        .await;
    let first = reap_by(&database, "preset = 'prisma-refresh-tokens'").await;
    assert_eq!(first.target("refresh_tokens")["deleted"]["expired"], 20 * 50, "{}", first.stderr);
    assert_eq!(first.target("refresh_tokens")["remaining"], 0, "rows that are kept are not due");
    assert_eq!(first.target("refresh_tokens")["skipped_locked"], 0);
    assert_eq!(
        database.one::<i64>("SELECT count(*) FROM refresh_tokens WHERE family::int % 2 = 0").await,
        20 * 50
    );

    database.execute("UPDATE refresh_tokens SET expires_at = now() - interval '2 days' WHERE expires_at > now()").await;
    let second = reap_by(&database, "preset = 'prisma-refresh-tokens'").await;
    assert_eq!(second.target("refresh_tokens")["deleted"]["expired"], 20 * 50, "{}", second.stderr);
    assert_eq!(database.one::<i64>("SELECT count(*) FROM refresh_tokens").await, 0);
}

#[tokio::test]
async fn preset_fails_only_if_all_its_tables_are_missing() {
    let database = made("authjs").await;
    database.execute("DROP TABLE verification_token").await;
    let some = reap_by(&database, "preset = 'authjs'").await;
    assert_eq!(some.code, Some(0), "{}", some.stderr);
    assert!(some.stderr.contains("table_missing"), "{}", some.stderr);
    let none = reap_by(&database, "preset = 'tower-sessions'").await;
    assert_eq!(none.code, Some(1), "{}", none.stderr);
    let why = none.target("tower_sessions.session")["why"].as_str().unwrap();
    assert!(why.contains("none of the tables of preset tower-sessions is here"), "{why}");
}
