//! The presets of identity providers, on tables as each project creates them. See
//! [`crate::presets`].
#![allow(missing_docs, reason = "a test is its own documentation")]

use crate::preset_tables::{
    Case, deletes_exactly_the_due_rows_by, epoch, made, on_tables_as_written,
};

#[tokio::test]
async fn keycloak_preset_deletes_exactly_the_due_rows() {
    on_tables_as_written(Case {
        preset: "keycloak",
        tables: &[
            ("public", "realm"),
            ("public", "offline_user_session"),
            ("public", "offline_client_session"),
            ("public", "revoked_token"),
            ("public", "single_use_object"),
        ],
        // An online and an offline session have the same ID, with two client sessions each. Realm
        // r0 does not exist.
        columns: &[
            ("realm.id", "'r' || i"),
            ("realm.sso_idle_timeout", "(ARRAY[0, 1800, 400000])[1 + i % 3]"),
            ("realm.sso_idle_timeout_remember_me", "(ARRAY[0, 400000, 0])[1 + i % 3]"),
            ("realm.offline_session_idle_timeout", "(ARRAY[0, 200000, 1000003])[1 + i % 3]"),
            ("offline_user_session.user_session_id", "'s' || i / 2"),
            ("offline_user_session.offline_flag", "i % 2"),
            ("offline_user_session.realm_id", "'r' || i / 2 % 7"),
            ("offline_user_session.last_session_refresh", concat!(epoch!(), "::bigint")),
            ("offline_client_session.user_session_id", "'s' || i / 4"),
            ("offline_client_session.offline_flag", "i % 2"),
            ("offline_client_session.client_id", "'c' || i / 2 % 2"),
            (
                r#"offline_client_session."timestamp""#,
                concat!("CASE WHEN random() < 0.9 THEN ", epoch!(), "::bigint END"),
            ),
            ("offline_client_session.client_storage_provider", "'local'"),
            ("revoked_token.expire", concat!(epoch!(), "::bigint")),
            ("single_use_object.expire", concat!(epoch!(), "::bigint")),
        ],
        due: "CREATE TABLE idle AS SELECT user_session_id AS id, offline_flag AS flag, last_session_refresh AS at
                  FROM offline_user_session JOIN realm r ON r.id = realm_id
                  WHERE to_timestamp(last_session_refresh) < :now - interval '3 minutes' - interval '1 second' *
                      CASE offline_flag WHEN '0' THEN (CASE sso_idle_timeout WHEN 0 THEN 1800 ELSE 400000 END)
                      ELSE (CASE offline_session_idle_timeout WHEN 0 THEN 2592000 ELSE offline_session_idle_timeout END) END;
              DELETE FROM offline_client_session WHERE to_timestamp(timestamp) < :now - interval '1 day'
                  AND (user_session_id, offline_flag) IN (SELECT id, flag FROM idle);
              DELETE FROM offline_user_session WHERE (user_session_id, offline_flag) IN (
                      SELECT id, flag FROM idle WHERE to_timestamp(at) < :now - interval '1 day')
                  AND (user_session_id, offline_flag) NOT IN (SELECT user_session_id, offline_flag FROM offline_client_session);
              DELETE FROM revoked_token WHERE to_timestamp(expire) < :now - interval '1 day';
              DELETE FROM single_use_object WHERE to_timestamp(expire) < :now - interval '1 day'",
    })
    .await;
}

#[tokio::test]
async fn matrix_authentication_service_preset_deletes_exactly_the_due_rows() {
    on_tables_as_written(Case {
        preset: "matrix-authentication-service",
        tables: &[
            ("public", "oauth2_access_tokens"),
            ("public", "oauth2_refresh_tokens"),
            ("public", "oauth2_authorization_grants"),
            ("public", "oauth2_device_code_grant"),
            ("public", "oauth2_sessions"),
            ("public", "compat_sessions"),
            ("public", "user_sessions"),
            ("public", "user_session_authentications"),
        ],
        columns: &[
            ("user_sessions.user_session_id", "md5(i::text)::uuid"),
            ("user_session_authentications.user_session_id", "md5((1 + i / 2)::text)::uuid"),
            ("compat_sessions.user_session_id", "CASE WHEN random() < 0.3 THEN md5(i::text)::uuid END"),
            ("oauth2_sessions.oauth2_session_id", "md5(i::text)::uuid"),
            ("oauth2_sessions.user_session_id", "CASE WHEN random() < 0.3 THEN md5(i::text)::uuid END"),
            ("oauth2_access_tokens.oauth2_access_token_id", "md5(i::text)::uuid"),
            ("oauth2_access_tokens.oauth2_session_id", "md5((1 + i / 3)::text)::uuid"),
            ("oauth2_refresh_tokens.oauth2_refresh_token_id", "md5(i::text)::uuid"),
            ("oauth2_refresh_tokens.oauth2_session_id", "md5((1 + i / 3)::text)::uuid"),
            ("oauth2_refresh_tokens.oauth2_access_token_id", "md5(i::text)::uuid"),
            (
                "oauth2_refresh_tokens.next_oauth2_refresh_token_id",
                "CASE WHEN random() < 0.7 THEN md5((1 + i % 50000)::text)::uuid END",
            ),
            ("oauth2_refresh_tokens.revoked_at", "CASE WHEN random() < 0.2 THEN times[1 + i % 40] END"),
            ("oauth2_authorization_grants.oauth2_session_id", "CASE WHEN random() < 0.5 THEN md5(i::text)::uuid END"),
            ("oauth2_authorization_grants.user_session_id", "CASE WHEN random() < 0.5 THEN md5(i::text)::uuid END"),
            ("oauth2_device_code_grant.oauth2_session_id", "CASE WHEN random() < 0.3 THEN md5(i::text)::uuid END"),
            ("oauth2_device_code_grant.user_session_id", "CASE WHEN random() < 0.3 THEN md5(i::text)::uuid END"),
        ],
        due: "DELETE FROM oauth2_access_tokens WHERE revoked_at < :now - interval '1 hour' OR expires_at < :now - interval '30 days';
              DELETE FROM oauth2_refresh_tokens WHERE revoked_at < :now - interval '1 hour';
              CREATE TABLE unused AS SELECT oauth2_refresh_token_id AS id FROM oauth2_refresh_tokens WHERE consumed_at IS NULL;
              DELETE FROM oauth2_refresh_tokens t WHERE consumed_at < :now - interval '1 hour'
                  AND (next_oauth2_refresh_token_id IS NULL OR NOT EXISTS (SELECT FROM unused WHERE id = t.next_oauth2_refresh_token_id));
              DELETE FROM oauth2_authorization_grants WHERE created_at < :now - interval '7 days';
              DELETE FROM oauth2_device_code_grant WHERE created_at < :now - interval '7 days';
              CREATE TABLE gone AS SELECT oauth2_session_id AS id FROM oauth2_sessions WHERE finished_at < :now - interval '30 days';
              DELETE FROM oauth2_sessions WHERE oauth2_session_id IN (SELECT id FROM gone);
              DELETE FROM oauth2_access_tokens WHERE oauth2_session_id IN (SELECT id FROM gone);
              DELETE FROM oauth2_refresh_tokens WHERE oauth2_session_id IN (SELECT id FROM gone);
              DELETE FROM oauth2_authorization_grants WHERE oauth2_session_id IN (SELECT id FROM gone);
              DELETE FROM oauth2_device_code_grant WHERE oauth2_session_id IN (SELECT id FROM gone);
              DELETE FROM user_sessions WHERE finished_at < :now - interval '30 days' AND NOT EXISTS (
                  SELECT FROM (SELECT user_session_id AS id FROM oauth2_sessions UNION SELECT user_session_id FROM compat_sessions
                      UNION SELECT user_session_id FROM oauth2_device_code_grant) AS s WHERE s.id = user_session_id);
              DELETE FROM user_session_authentications t
                  WHERE NOT EXISTS (SELECT FROM user_sessions s WHERE s.user_session_id = t.user_session_id);
              UPDATE oauth2_refresh_tokens t SET next_oauth2_refresh_token_id = NULL WHERE NOT EXISTS (
                  SELECT FROM oauth2_refresh_tokens n WHERE n.oauth2_refresh_token_id = t.next_oauth2_refresh_token_id);
              UPDATE oauth2_refresh_tokens t SET oauth2_access_token_id = NULL WHERE NOT EXISTS (
                  SELECT FROM oauth2_access_tokens a WHERE a.oauth2_access_token_id = t.oauth2_access_token_id);
              UPDATE oauth2_authorization_grants t SET user_session_id = NULL
                  WHERE NOT EXISTS (SELECT FROM user_sessions s WHERE s.user_session_id = t.user_session_id)",
    })
    .await;
}

#[tokio::test]
async fn openiddict_preset_deletes_exactly_the_due_rows() {
    on_tables_as_written(Case {
        preset: "openiddict",
        tables: &[
            ("public", r#""OpenIddictTokens""#),
            ("public", r#""OpenIddictAuthorizations""#),
        ],
        columns: &[
            (r#""OpenIddictAuthorizations"."Id""#, "'a' || i"),
            (
                r#""OpenIddictAuthorizations"."Status""#,
                "(ARRAY['valid', 'valid', 'revoked', NULL])[1 + floor(random() * 4)::int]",
            ),
            (
                r#""OpenIddictAuthorizations"."Type""#,
                "(ARRAY['ad-hoc', 'permanent'])[1 + floor(random() * 2)::int]",
            ),
            (
                r#""OpenIddictTokens"."AuthorizationId""#,
                "CASE WHEN random() < 0.6 THEN 'a' || i / 2 END",
            ),
            (
                r#""OpenIddictTokens"."Status""#,
                "(ARRAY['valid', 'valid', 'inactive', 'redeemed', 'revoked', 'rejected', NULL])[1 + floor(random() * 7)::int]",
            ),
        ],
        due: r#"DELETE FROM "OpenIddictTokens" WHERE "CreationDate" < :now - interval '14 days'
                    AND ("Status" IN ('redeemed', 'revoked', 'rejected') OR "ExpirationDate" < :now
                        OR "AuthorizationId" IN (SELECT "Id" FROM "OpenIddictAuthorizations" WHERE "Status" = 'revoked'));
                DELETE FROM "OpenIddictAuthorizations" WHERE "CreationDate" < :now - interval '14 days'
                    AND ("Status" = 'revoked' OR "Type" = 'ad-hoc')
                    AND "Id" NOT IN (SELECT "AuthorizationId" FROM "OpenIddictTokens" WHERE "AuthorizationId" IS NOT NULL)"#,
    })
    .await;
}

/// All tables of Duende IdentityServer's operational store, and the SQL that deletes the due rows.
fn duende(due: &'static str) -> Case {
    Case {
        preset: "duende-identityserver",
        tables: &[
            ("public", r#""PersistedGrants""#),
            ("public", r#""DeviceCodes""#),
            ("public", r#""PushedAuthorizationRequests""#),
            ("public", r#""SamlSigninStates""#),
            ("public", r#""SamlLogoutSessions""#),
            ("public", r#""SamlLogoutSessionRequestIndices""#),
            ("public", r#""ServerSideSessions""#),
        ],
        columns: &[(r#""SamlLogoutSessionRequestIndices"."SamlLogoutSessionId""#, "1 + i / 2")],
        due,
    }
}

macro_rules! expired_duende_rows {
    () => {
        r#"DELETE FROM "PersistedGrants" WHERE "Expiration" < :now - interval '1 day';
           DELETE FROM "DeviceCodes" WHERE "Expiration" < :now - interval '1 day';
           DELETE FROM "PushedAuthorizationRequests" WHERE "ExpiresAtUtc" < :now - interval '1 day';
           DELETE FROM "SamlSigninStates" WHERE "ExpiresAtUtc" < :now - interval '1 day';
           DELETE FROM "SamlLogoutSessions" WHERE "ExpiresAtUtc" < :now - interval '1 day';
           DELETE FROM "SamlLogoutSessionRequestIndices"
               WHERE "SamlLogoutSessionId" NOT IN (SELECT "Id" FROM "SamlLogoutSessions");"#
    };
}

#[tokio::test]
async fn duende_identityserver_preset_deletes_exactly_the_due_rows() {
    on_tables_as_written(duende(expired_duende_rows!())).await;
}

#[tokio::test]
async fn duende_identityserver_preset_deletes_sessions_if_enabled() {
    let config = "preset = 'duende-identityserver'
                  [[target]]
                  table = '\"ServerSideSessions\"'
                  enabled = true";
    let case = duende(concat!(
        expired_duende_rows!(),
        r#"DELETE FROM "ServerSideSessions" WHERE "Expires" < :now - interval '1 day'"#
    ));
    deletes_exactly_the_due_rows_by(&made("duende-identityserver").await, case, config).await;
}

#[tokio::test]
async fn authentik_preset_deletes_exactly_the_due_rows() {
    on_tables_as_written(Case {
        preset: "authentik",
        tables: &[
            ("public", "authentik_providers_oauth2_accesstoken"),
            ("public", "authentik_providers_oauth2_refreshtoken"),
            ("public", "authentik_providers_oauth2_authorizationcode"),
            ("public", "authentik_providers_oauth2_devicetoken"),
        ],
        columns: &[
            ("authentik_providers_oauth2_accesstoken.session_id", "md5(i::text)"),
            ("authentik_providers_oauth2_refreshtoken.session_id", "md5(i::text)"),
            ("authentik_providers_oauth2_authorizationcode.session_id", "md5(i::text)"),
            ("authentik_providers_oauth2_devicetoken.session_id", "md5(i::text)"),
        ],
        due: "DELETE FROM authentik_providers_oauth2_accesstoken WHERE expiring AND expires < :now - interval '1 day';
              DELETE FROM authentik_providers_oauth2_refreshtoken WHERE expiring AND expires < :now - interval '1 day';
              DELETE FROM authentik_providers_oauth2_authorizationcode WHERE expiring AND expires < :now - interval '1 day';
              DELETE FROM authentik_providers_oauth2_devicetoken WHERE expiring AND expires < :now - interval '1 day'",
    })
    .await;
}

#[tokio::test]
async fn ory_hydra_preset_deletes_unused_consents_if_enabled() {
    let config = "preset = 'ory-hydra'
                  [[target]]
                  table = 'hydra_oauth2_flow'
                  [[target]]
                  table = 'hydra_oauth2_flow'
                  enabled = true";
    let case = Case {
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
            ("hydra_oauth2_access.challenge_id", "CASE WHEN random() < 0.1 THEN 'c' || i END"),
            ("hydra_oauth2_refresh.challenge_id", "CASE WHEN random() < 0.1 THEN 'c' || i END"),
            ("hydra_oauth2_code.challenge_id", "CASE WHEN random() < 0.1 THEN 'c' || i END"),
            ("hydra_oauth2_oidc.challenge_id", "CASE WHEN random() < 0.1 THEN 'c' || i END"),
            ("hydra_oauth2_pkce.challenge_id", "CASE WHEN random() < 0.1 THEN 'c' || i END"),
            ("hydra_oauth2_device_auth_codes.challenge_id", "CASE WHEN random() < 0.1 THEN 'c' || i END"),
            ("hydra_oauth2_flow.consent_challenge_id", "'c' || i"),
            ("hydra_oauth2_flow.state", "(ARRAY[5, 6, 6, 6, NULL])[1 + floor(random() * 5)::int]"),
            ("hydra_oauth2_flow.login_error", "(ARRAY[NULL, '', '{}', 'x'])[1 + floor(random() * 4)::int]"),
            ("hydra_oauth2_flow.consent_error", "(ARRAY[NULL, '', '{}', 'x'])[1 + floor(random() * 4)::int]"),
            // A consent that is remembered for 0 seconds never expires.
            ("hydra_oauth2_flow.consent_remember_for", "(ARRAY[0, 617, 500 * 86400])[1 + floor(random() * 3)::int]"),
        ],
        due: "DELETE FROM hydra_oauth2_access WHERE expires_at < :utc - interval '1 day';
              DELETE FROM hydra_oauth2_refresh WHERE requested_at < :utc - interval '30 days' AND expires_at < :utc;
              DELETE FROM hydra_oauth2_code WHERE expires_at < :utc - interval '1 day';
              DELETE FROM hydra_oauth2_oidc WHERE expires_at < :utc - interval '1 day';
              DELETE FROM hydra_oauth2_pkce WHERE expires_at < :utc - interval '1 day';
              DELETE FROM hydra_oauth2_device_auth_codes WHERE expires_at < :utc - interval '1 day';
              CREATE TABLE rejected AS SELECT consent_challenge_id AS id FROM hydra_oauth2_flow
                  WHERE requested_at < :utc - interval '1 day' AND (state = 5 OR coalesce(login_error, '') NOT IN ('', '{}') OR coalesce(consent_error, '') NOT IN ('', '{}'));
              DELETE FROM hydra_oauth2_flow WHERE consent_challenge_id IN (SELECT id FROM rejected);
              DELETE FROM hydra_oauth2_access WHERE challenge_id IN (SELECT id FROM rejected);
              DELETE FROM hydra_oauth2_refresh WHERE challenge_id IN (SELECT id FROM rejected);
              DELETE FROM hydra_oauth2_code WHERE challenge_id IN (SELECT id FROM rejected);
              DELETE FROM hydra_oauth2_oidc WHERE challenge_id IN (SELECT id FROM rejected);
              DELETE FROM hydra_oauth2_pkce WHERE challenge_id IN (SELECT id FROM rejected);
              DELETE FROM hydra_oauth2_device_auth_codes WHERE challenge_id IN (SELECT id FROM rejected);
              CREATE TABLE used AS SELECT challenge_id AS id FROM hydra_oauth2_access UNION SELECT challenge_id FROM hydra_oauth2_refresh
                  UNION SELECT challenge_id FROM hydra_oauth2_code UNION SELECT challenge_id FROM hydra_oauth2_oidc
                  UNION SELECT challenge_id FROM hydra_oauth2_pkce UNION SELECT challenge_id FROM hydra_oauth2_device_auth_codes;
              DELETE FROM hydra_oauth2_flow WHERE requested_at < :utc - interval '30 days' AND login_session_id IS NULL
                  AND (consent_remember IS NOT TRUE OR expires_at < :utc)
                  AND (state IS NULL OR state = 6)
                  AND NOT EXISTS (SELECT FROM used WHERE id = consent_challenge_id);
              DELETE FROM hydra_oauth2_trusted_jwt_bearer_issuer WHERE expires_at < :utc - interval '1 day'",
    };
    deletes_exactly_the_due_rows_by(&made("ory-hydra").await, case, config).await;
}
