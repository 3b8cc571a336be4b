-- Two roles with exactly what each program does to the tables, and nothing else.
--
-- Apply it as the tables' owner who may also create roles (the one who migrates), after `auth-api migrate` or
-- `session-reaper migrate` or both, and again after every new migration. Twice is as good as once. Then give each role
-- a password: ALTER ROLE auth_api PASSWORD '…'. Any client will do; nothing here is psql's own.

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'auth_api') THEN
        CREATE ROLE auth_api LOGIN;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'session_reaper') THEN
        CREATE ROLE session_reaper LOGIN;
    END IF;
END
$$;

DO $$
DECLARE
    wanted record;
BEGIN
    FOR wanted IN
        SELECT * FROM (VALUES
            ('auth_api', 'accounts', 'SELECT, INSERT, UPDATE'),
            ('auth_api', 'sessions', 'SELECT, INSERT, UPDATE'),
            ('auth_api', 'token_families', 'SELECT, INSERT, UPDATE'),
            ('auth_api', 'consumed_challenges', 'SELECT, INSERT'),
            -- Whether the migrations were applied: /readyz says so.
            ('auth_api', '__diesel_schema_migrations', 'SELECT'),

            -- The reaper locks a row before it deletes it (FOR UPDATE), which takes the right to update some column: it
            -- gets the one where that could do the least harm. A session takes its token family along by a cascade,
            -- which PostgreSQL carries out with the rights of the table's owner.
            ('session_reaper', 'sessions', 'SELECT, DELETE, UPDATE (user_agent)'),
            ('session_reaper', 'consumed_challenges', 'SELECT, DELETE, UPDATE (expires_at)'),
            ('session_reaper', 'reaper_runs', 'SELECT, INSERT, UPDATE, DELETE'),
            ('session_reaper', 'reaper_state', 'SELECT, INSERT, UPDATE, DELETE'),
            ('session_reaper', '__diesel_schema_migrations', 'SELECT')
        ) AS list (role_name, table_name, privileges)
        -- Only one of the two sets of migrations may be here.
        WHERE to_regclass(quote_ident(table_name)) IS NOT NULL
    LOOP
        EXECUTE format('GRANT %s ON %I TO %I', wanted.privileges, wanted.table_name, wanted.role_name);
    END LOOP;
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO auth_api, session_reaper', current_schema());
END
$$;

-- With KEEP_ACCOUNTS the reaper also deletes accounts that nobody logs in to any more:
-- GRANT SELECT, DELETE, UPDATE (last_login_at) ON accounts TO session_reaper;

-- `auth-api accounts delete` takes a role that may: the tables' owner, or
-- GRANT DELETE ON accounts TO …;

-- To make way for replicas that are behind and for a busy server the reaper has to see them. The right also shows the text of
-- others' statements: where that is too much, leave it out and see docs/throttles.md.
-- GRANT pg_read_all_stats TO session_reaper;
