//! Each preset on tables as its project creates them: exactly the due rows are deleted. Separate
//! SQL, written from the preset's page in `docs/presets/`, determines the due rows.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    missing_docs,
    reason = "a test fails by panicking, and is its own documentation"
)]

use crate::preset_tables as tables;

use tables::{Case, as_written, deletes_exactly_the_due_rows, indexed, reap_by};
use testkit::{Database, expired_sessions};

/// Creates the tables of a preset, and the indexes that the preset's page lists.
async fn made(preset: &str) -> Database {
    let database = as_written(preset).await;
    indexed(&database, preset).await;
    database
}

async fn on_tables_as_written(case: Case) {
    deletes_exactly_the_due_rows(&made(case.preset).await, case).await;
}

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
