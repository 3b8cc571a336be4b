//! Proposals for the tables of projects for which there is no preset (no built-in targets). The
//! rows are typical of a system in use: some live, some dead.

use testkit::Database;

use super::{config, discover, judged, live, presets};

/// A project: its tables with rows, the tables that are certain, and the tables that are proposed
/// for review.
struct Project {
    name: &'static str,
    sql: &'static str,
    certain: &'static [&'static str],
    uncertain: &'static [&'static str],
}

const PROJECTS: &[Project] = &[
    Project {
        name: "knex (connect-session-knex)",
        sql: "CREATE TABLE sessions (sid varchar(255) PRIMARY KEY, sess json NOT NULL, expired timestamptz NOT NULL);
              INSERT INTO sessions SELECT n, '{}', now() + n * interval '1 hour' FROM generate_series(-100, 100) n",
        certain: &["public.sessions"],
        uncertain: &[],
    },
    Project {
        name: "Rails (activerecord-session_store)",
        sql: "CREATE TABLE sessions (id bigserial PRIMARY KEY, session_id varchar NOT NULL UNIQUE, data text,
                  created_at timestamp(6) NOT NULL, updated_at timestamp(6) NOT NULL);
              INSERT INTO sessions SELECT n, n, '', now() - interval '9 days', now() - n * interval '1 hour' FROM generate_series(1, 100) n",
        certain: &[],
        uncertain: &["public.sessions"],
    },
    Project {
        name: "NextAuth (Prisma)",
        sql: r#"CREATE TABLE "User" (id text PRIMARY KEY, "emailVerified" timestamp(3));
              CREATE TABLE "Account" (id text PRIMARY KEY, "userId" text REFERENCES "User", provider text, refresh_token text,
                  access_token text, expires_at int);
              CREATE TABLE "Session" (id text PRIMARY KEY, "sessionToken" text UNIQUE NOT NULL, "userId" text REFERENCES "User",
                  expires timestamp(3) NOT NULL);
              CREATE TABLE "VerificationToken" (identifier text NOT NULL, token text UNIQUE NOT NULL, expires timestamp(3) NOT NULL);
              INSERT INTO "User" VALUES ('u');
              INSERT INTO "Account" SELECT n, 'u', 'p', 'r', 'a', extract(epoch FROM now()) - n * 3600 FROM generate_series(1, 100) n;
              INSERT INTO "Session" SELECT n, n, 'u', now() + n * interval '1 hour' FROM generate_series(-100, 100) n;
              INSERT INTO "VerificationToken" SELECT n, n, now() + n * interval '1 minute' FROM generate_series(-100, 100) n"#,
        certain: &[r#"public."Session""#, r#"public."VerificationToken""#],
        uncertain: &[r#"public."Account""#],
    },
    Project {
        name: "Ory Kratos",
        sql: "CREATE TABLE identities (id uuid PRIMARY KEY, created_at timestamp NOT NULL, updated_at timestamp NOT NULL, state varchar(255));
              CREATE TABLE sessions (id uuid PRIMARY KEY, issued_at timestamp NOT NULL, expires_at timestamp NOT NULL,
                  authenticated_at timestamp NOT NULL, identity_id uuid NOT NULL REFERENCES identities ON DELETE CASCADE,
                  created_at timestamp NOT NULL, updated_at timestamp NOT NULL, token varchar(39), active boolean DEFAULT false,
                  nid uuid, logout_token varchar(39), aal varchar(4), authentication_methods jsonb);
              CREATE TABLE session_devices (id uuid PRIMARY KEY, ip_address varchar(50), user_agent varchar(512), nid uuid,
                  session_id uuid NOT NULL REFERENCES sessions ON DELETE CASCADE, created_at timestamp, updated_at timestamp);
              CREATE TABLE selfservice_login_flows (id uuid PRIMARY KEY, request_url text, issued_at timestamp, expires_at timestamp,
                  active_method varchar(32), csrf_token varchar(255), type varchar(16), refresh boolean, state varchar(255));
              CREATE TABLE identity_recovery_codes (id uuid PRIMARY KEY, code varchar(64), used_at timestamp, expires_at timestamp,
                  issued_at timestamp, selfservice_recovery_flow_id uuid, identity_id uuid)",
        certain: &["public.identity_recovery_codes"],
        uncertain: &["public.selfservice_login_flows", "public.sessions"],
    },
    Project {
        name: "Discourse",
        sql: "CREATE TABLE user_auth_tokens (id serial PRIMARY KEY, user_id int NOT NULL, auth_token varchar NOT NULL,
                  prev_auth_token varchar NOT NULL, user_agent varchar, auth_token_seen boolean NOT NULL DEFAULT false,
                  client_ip inet, rotated_at timestamp NOT NULL, created_at timestamp NOT NULL, updated_at timestamp NOT NULL,
                  seen_at timestamp);
              CREATE TABLE user_auth_token_logs (id serial PRIMARY KEY, action varchar NOT NULL, user_auth_token_id int,
                  user_id int, created_at timestamp);
              CREATE TABLE email_tokens (id serial PRIMARY KEY, user_id int, email varchar, confirmed boolean, expired boolean,
                  created_at timestamp, updated_at timestamp, token_hash varchar, scope int)",
        certain: &[],
        uncertain: &["public.email_tokens", "public.user_auth_tokens"],
    },
    Project {
        name: "WordPress (WooCommerce)",
        sql: "CREATE TABLE wp_users (id bigserial PRIMARY KEY, user_registered timestamp, user_activation_key varchar(255));
              CREATE TABLE wp_woocommerce_sessions (session_id bigserial PRIMARY KEY, session_key char(32) UNIQUE,
                  session_value text, session_expiry bigint NOT NULL);
              INSERT INTO wp_woocommerce_sessions SELECT n, n, '', extract(epoch FROM now()) + n * 60 FROM generate_series(1, 500) n",
        certain: &[],
        uncertain: &["public.wp_woocommerce_sessions"],
    },
    Project {
        name: "Gitea",
        // `expiry` contains the time of the last use.
        sql: "CREATE TABLE session (key char(16) PRIMARY KEY, data bytea, expiry bigint);
              CREATE TABLE auth_token (id varchar(255) PRIMARY KEY, token_hash varchar(255), user_id bigint, expires_unix bigint);
              INSERT INTO session SELECT n, '', extract(epoch FROM now()) - n * 60 FROM generate_series(1, 500) n;
              INSERT INTO auth_token SELECT n, n, n, extract(epoch FROM now()) + n * 60 FROM generate_series(1, 500) n",
        certain: &["public.auth_token"],
        uncertain: &["public.session"],
    },
    Project {
        name: "Mattermost",
        // `expiresat` is 0 for sessions that never expire.
        sql: "CREATE TABLE sessions (id varchar(26) PRIMARY KEY, token varchar(26), createat bigint, expiresat bigint,
                  lastactivityat bigint, userid varchar(26), deviceid varchar(512), roles varchar(256), isoauth boolean, props jsonb,
                  expirednotify boolean);
              INSERT INTO sessions SELECT n, n, 1700000000000, CASE WHEN n % 3 > 0 THEN 0 ELSE (extract(epoch FROM now()) + n) * 1000 END,
                  extract(epoch FROM now()) * 1000 FROM generate_series(1, 500) n",
        certain: &[],
        uncertain: &["public.sessions"],
    },
    Project {
        name: "django-rest-knox",
        sql: "CREATE TABLE knox_authtoken (digest varchar(128) PRIMARY KEY, created timestamptz NOT NULL, user_id int NOT NULL,
                  expiry timestamptz, token_key varchar(25) NOT NULL);
              INSERT INTO knox_authtoken SELECT n, now(), n, CASE WHEN n % 2 = 0 THEN now() + n * interval '1 hour' END, n
              FROM generate_series(-500, 500) n",
        certain: &[],
        uncertain: &["public.knox_authtoken"],
    },
];

#[tokio::test]
async fn project_tables_are_certain_only_where_known() {
    for project in PROJECTS {
        let database = Database::empty().await;
        database.execute(project.sql).await;
        let found = discover(&database.url()).await;
        assert_eq!(live(&found), project.certain, "{}: {}", project.name, config(&found));
        assert_eq!(presets(&found), [], "{}", project.name);
        for table in project.uncertain {
            assert!(
                !judged(&found, table)
                    .unwrap_or_else(|| panic!("{}: {}", project.name, config(&found)))
                    .0
            );
        }
        let mut all: Vec<&str> = found["targets"]
            .as_array()
            .unwrap()
            .iter()
            .map(|target| target["table"].as_str().unwrap())
            .collect();
        all.retain(|table| !project.certain.contains(table) && !project.uncertain.contains(table));
        assert_eq!(all, Vec::<&str>::new(), "{}: {}", project.name, config(&found));
    }
}

#[tokio::test]
async fn gitlab_tokens_are_recognized_as_doorkeeper() {
    let database = super::with_preset("doorkeeper").await;
    database
        .execute(
            "ALTER TABLE oauth_access_tokens ADD organization_id bigint;
             CREATE TABLE oauth_openid_requests (id serial PRIMARY KEY, nonce varchar NOT NULL,
                 access_grant_id bigint NOT NULL REFERENCES oauth_access_grants ON DELETE CASCADE)",
        )
        .await;
    let found = discover(&database.url()).await;
    assert_eq!(presets(&found)[0].1, "certain", "{}", config(&found));
}

#[tokio::test]
async fn laravel_application_is_recognized() {
    let database = super::with_preset("laravel").await;
    let sanctum = format!("{}/tests/presets/laravel-sanctum.sql", env!("CARGO_MANIFEST_DIR"));
    database.execute(&std::fs::read_to_string(sanctum).unwrap()).await;
    database
        .execute(
            "CREATE TABLE password_reset_tokens (email varchar(255) PRIMARY KEY, token varchar(255) NOT NULL, created_at timestamp(0));
             CREATE TABLE cache (key varchar(255) PRIMARY KEY, value text NOT NULL, expiration int NOT NULL);
             CREATE TABLE cache_locks (key varchar(255) PRIMARY KEY, owner varchar(255) NOT NULL, expiration int NOT NULL);
             INSERT INTO sessions SELECT n, n, '', '', '', extract(epoch FROM now()) - n * 60 FROM generate_series(1, 100) n;
             INSERT INTO cache SELECT n, '', extract(epoch FROM now()) + n * 60 FROM generate_series(-100, 100) n",
        )
        .await;
    let found = discover(&database.url()).await;
    let presets: Vec<_> = presets(&found).into_iter().map(|(name, how, _)| (name, how)).collect();
    let certain = |name: &str| (name.to_owned(), "certain".to_owned());
    assert_eq!(presets, [certain("laravel"), certain("laravel-sanctum")], "{}", config(&found));
    assert_eq!(live(&found), Vec::<&str>::new(), "{}", config(&found));
    for table in ["public.cache", "public.cache_locks", "public.password_reset_tokens"] {
        assert!(
            judged(&found, table).is_some_and(|(live, _)| !live),
            "{table}: {}",
            config(&found)
        );
    }
}
