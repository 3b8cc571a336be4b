-- Creates a role for each of the two programs, with exactly the privileges that the program needs.
--
-- Apply this file as the owner of the tables, who must also have the privilege to create roles.
-- Apply it after `auth-api migrate`, `session-reaper migrate` or both, and again after every new
-- migration. In one transaction, the file revokes the existing privileges of the two roles on these
-- tables and grants the privileges that are listed here. If you apply the file again, it therefore
-- removes excess privileges, and the roles never lack a privilege that they need. Then set a
-- password for each role: ALTER ROLE auth_api PASSWORD '…'. Any client can run this file: it
-- contains no psql commands.
--
-- The tables are found along the search_path. If a table has the name of a program's table but is a
-- different table, no privileges on it are granted.
--
-- A reaper with KEEP_ACCOUNTS, or with the target `accounts` in its reaper.toml, needs more
-- privileges. To grant these privileges, too, run this statement first, in the same session:
--     SET session_reaper.keep_accounts = 'on';

DO $$
DECLARE
    old_path pg_catalog.text := pg_catalog.current_setting('search_path');
    proof pg_catalog.record;
    names pg_catalog.text[] := '{}';
    oids pg_catalog.oid[] := '{}';
    lacks pg_catalog.text[] := '{}';
    runs pg_catalog.oid := pg_catalog.to_regclass('reaper_runs');
    state pg_catalog.oid := pg_catalog.to_regclass('reaper_state');
    versions pg_catalog.oid := pg_catalog.to_regclass('__diesel_schema_migrations');
    statement pg_catalog.text;
BEGIN
    -- Checks whether the tables on the search_path are auth-api's tables. session-reaper uses the
    -- same statement (reaper/src/target/auth_api.sql). The statement does not use any object that
    -- another role may have created in a schema of the search_path.
    FOR proof IN
        WITH expected (name) AS (
            VALUES ('accounts'::pg_catalog.text), ('sessions'), ('token_families'), ('consumed_challenges')
        ), expected_columns (of, name, type) AS (
            VALUES
                ('accounts'::pg_catalog.text, 'id'::pg_catalog.name, 'pg_catalog.uuid'::pg_catalog.regtype::pg_catalog.oid),
                ('accounts', 'last_login_at', 'pg_catalog.timestamptz'::pg_catalog.regtype),
                ('accounts', 'disabled_at', 'pg_catalog.timestamptz'::pg_catalog.regtype),
                ('sessions', 'id', 'pg_catalog.uuid'::pg_catalog.regtype),
                ('sessions', 'account_id', 'pg_catalog.uuid'::pg_catalog.regtype),
                ('sessions', 'expires_at', 'pg_catalog.timestamptz'::pg_catalog.regtype),
                ('sessions', 'revoked_at', 'pg_catalog.timestamptz'::pg_catalog.regtype),
                ('token_families', 'session_id', 'pg_catalog.uuid'::pg_catalog.regtype),
                ('consumed_challenges', 'nonce_hash', 'pg_catalog.bytea'::pg_catalog.regtype),
                ('consumed_challenges', 'expires_at', 'pg_catalog.timestamptz'::pg_catalog.regtype)
        ), expected_keys (of, name, refers_to) AS (
            VALUES
                ('sessions'::pg_catalog.text, 'account_id'::pg_catalog.name, 'accounts'::pg_catalog.text),
                ('token_families', 'session_id', 'sessions')
        ), tables AS (
            SELECT e.name, pg_catalog.to_regclass(e.name)::pg_catalog.oid AS oid FROM expected AS e
        )
        SELECT t.name, t.oid, ARRAY (
            SELECT 'no table ' OPERATOR(pg_catalog.||) t.name WHERE t.oid IS NULL
            UNION ALL
            SELECT pg_catalog.format('no column %s.%s of type %s', c.of, c.name, pg_catalog.format_type(c.type, NULL))
            FROM expected_columns AS c
            WHERE c.of OPERATOR(pg_catalog.=) t.name AND t.oid IS NOT NULL AND NOT EXISTS (
                SELECT FROM pg_catalog.pg_attribute AS a
                WHERE a.attrelid OPERATOR(pg_catalog.=) t.oid AND a.attname OPERATOR(pg_catalog.=) c.name
                    AND a.atttypid OPERATOR(pg_catalog.=) c.type AND NOT a.attisdropped)
            UNION ALL
            SELECT pg_catalog.format('no foreign key from %s.%s to %s.id', k.of, k.name, k.refers_to)
            FROM expected_keys AS k
            WHERE k.of OPERATOR(pg_catalog.=) t.name AND t.oid IS NOT NULL AND NOT EXISTS (
                SELECT FROM pg_catalog.pg_constraint AS f
                JOIN tables AS other ON other.name OPERATOR(pg_catalog.=) k.refers_to
                    AND other.oid OPERATOR(pg_catalog.=) f.confrelid
                JOIN pg_catalog.pg_attribute AS a ON a.attrelid OPERATOR(pg_catalog.=) f.conrelid
                    AND a.attname OPERATOR(pg_catalog.=) k.name AND f.conkey OPERATOR(pg_catalog.=) ARRAY[a.attnum]
                JOIN pg_catalog.pg_attribute AS b ON b.attrelid OPERATOR(pg_catalog.=) f.confrelid
                    AND b.attname OPERATOR(pg_catalog.=) 'id'::pg_catalog.name
                    AND f.confkey OPERATOR(pg_catalog.=) ARRAY[b.attnum]
                WHERE f.conrelid OPERATOR(pg_catalog.=) t.oid
                    AND f.contype OPERATOR(pg_catalog.=) 'f'::pg_catalog."char")
            UNION ALL
            -- This table has no foreign key to the other tables. It is recognized by its key and
            -- its schema: `auth-api migrate` creates all tables in one schema.
            SELECT 'consumed_challenges is not keyed by nonce_hash, in the schema of sessions'
            WHERE t.name OPERATOR(pg_catalog.=) 'consumed_challenges'::pg_catalog.text AND t.oid IS NOT NULL AND NOT EXISTS (
                SELECT FROM pg_catalog.pg_constraint AS p
                JOIN pg_catalog.pg_attribute AS a ON a.attrelid OPERATOR(pg_catalog.=) p.conrelid
                    AND a.attname OPERATOR(pg_catalog.=) 'nonce_hash'::pg_catalog.name
                    AND p.conkey OPERATOR(pg_catalog.=) ARRAY[a.attnum]
                JOIN tables AS sessions ON sessions.name OPERATOR(pg_catalog.=) 'sessions'::pg_catalog.text
                JOIN pg_catalog.pg_class AS s ON s.oid OPERATOR(pg_catalog.=) sessions.oid
                WHERE p.conrelid OPERATOR(pg_catalog.=) t.oid AND p.connamespace OPERATOR(pg_catalog.=) s.relnamespace
                    AND p.contype OPERATOR(pg_catalog.=) 'p'::pg_catalog."char")
        ) AS lacks
        FROM tables AS t
    LOOP
        names := pg_catalog.array_append(names, proof.name);
        oids := pg_catalog.array_append(oids, proof.oid);
        lacks := pg_catalog.array_cat(lacks, proof.lacks);
    END LOOP;

    -- From here on, the names of functions and operators can refer only to PostgreSQL's own, and
    -- tables are identified by their oids.
    PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
    IF cardinality(lacks) > 0 THEN
        IF cardinality(array_remove(oids, NULL)) > 0 THEN
            RAISE WARNING 'these are not the tables of auth-api; no privileges on them are granted: %', array_to_string(lacks, '; ');
        END IF;
        names := '{}';
        oids := '{}';
    ELSIF EXISTS (SELECT FROM pg_attribute WHERE attrelid = versions AND attname = 'version') THEN
        names := names || '__diesel_schema_migrations'::text;
        oids := oids || versions;
    END IF;
    IF 12 = (
        SELECT count(*) FROM (VALUES
            (runs, 'id', 'uuid'::regtype), (runs, 'instance', 'text'), (runs, 'version', 'text'),
            (runs, 'started_at', 'timestamptz'), (runs, 'heartbeat_at', 'timestamptz'),
            (runs, 'finished_at', 'timestamptz'), (runs, 'trigger', 'text'), (runs, 'outcome', 'text'),
            (runs, 'report', 'jsonb'),
            (state, 'key', 'text'), (state, 'value', 'jsonb'), (state, 'updated_at', 'timestamptz')
        ) AS expected (of, name, type)
        JOIN pg_attribute a ON a.attrelid = expected.of AND a.attname = expected.name AND a.atttypid = expected.type)
    THEN
        names := names || '{reaper_runs, reaper_state}'::text[];
        oids := oids || ARRAY[runs, state];
    ELSIF runs IS NOT NULL OR state IS NOT NULL THEN
        RAISE WARNING 'reaper_runs and reaper_state are not the tables of session-reaper; no privileges on them are granted';
    END IF;

    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'auth_api') THEN
        CREATE ROLE auth_api LOGIN;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'session_reaper') THEN
        CREATE ROLE session_reaper LOGIN;
    END IF;

    -- Revoking a privilege on a table also revokes it on each of its columns.
    FOR statement IN
        SELECT format('REVOKE ALL ON TABLE %s FROM auth_api, session_reaper', oid::regclass) FROM unnest(oids) AS oid
        UNION ALL
        SELECT format('GRANT %s ON TABLE %s TO %I', list.privileges, found.oid::regclass, list.role_name)
        FROM unnest(names, oids) AS found (name, oid)
        JOIN (VALUES
            ('auth_api', 'accounts', 'SELECT, INSERT, UPDATE (last_login_at, disabled_at)'),
            ('auth_api', 'sessions', 'SELECT, INSERT, UPDATE (last_seen_at, expires_at, revoked_at, revoked_reason,
                token_hash, previous_hash, previous_until, sealed_successor)'),
            ('auth_api', 'token_families', 'SELECT, INSERT,
                UPDATE (generation, token_hash, previous_hash, sealed_successor, rotated_at, previous_rotated_at, attempt_hash,
                    recorded_generation, previous_expires_at, last_ipv4, last_ipv6, foreign_generation, foreign_generations)'),
            ('auth_api', 'consumed_challenges', 'SELECT, INSERT'),
            -- /readyz reads this table to report whether all migrations have been applied.
            ('auth_api', '__diesel_schema_migrations', 'SELECT (version)'),

            -- The reaper locks a row before it deletes it (FOR UPDATE), which requires the
            -- privilege to update a column. The reaper gets this privilege on the column where an
            -- update can do the least harm. Deleting a session also deletes its token family:
            -- PostgreSQL executes the cascade with the privileges of the table's owner.
            ('session_reaper', 'sessions', 'SELECT (ctid, tableoid, id, expires_at, revoked_at), DELETE, UPDATE (user_agent)'),
            ('session_reaper', 'consumed_challenges', 'SELECT (ctid, tableoid, nonce_hash, expires_at), DELETE,
                UPDATE (expires_at)'),
            ('session_reaper', 'reaper_runs', 'SELECT, INSERT, DELETE, UPDATE (heartbeat_at, finished_at, outcome, report)'),
            ('session_reaper', 'reaper_state', 'SELECT, INSERT, DELETE, UPDATE (value, updated_at)')
        ) AS list (role_name, table_name, privileges) ON list.table_name = found.name
        UNION ALL
        SELECT format('GRANT %s ON TABLE %s TO session_reaper', list.privileges, found.oid::regclass)
        FROM unnest(names, oids) AS found (name, oid)
        JOIN (VALUES
            ('accounts', 'SELECT (ctid, tableoid, xmax, id, last_login_at, disabled_at), DELETE, UPDATE (last_login_at)'),
            ('sessions', 'SELECT (account_id)')
        ) AS list (table_name, privileges) ON list.table_name = found.name
        WHERE coalesce(nullif(current_setting('session_reaper.keep_accounts', true), '')::boolean, false)
        UNION ALL
        SELECT DISTINCT format('GRANT USAGE ON SCHEMA %s TO auth_api, session_reaper', relnamespace::regnamespace)
        FROM pg_class WHERE oid = ANY (oids)
    LOOP
        EXECUTE statement;
    END LOOP;
    PERFORM set_config('search_path', old_path, true);
END
$$;

-- `auth-api accounts delete` requires the owner of the tables, or a role with this privilege:
--
-- GRANT DELETE ON accounts TO …;

-- To throttle when replicas lag or the server is busy, the reaper must be able to read the
-- statistics of the server. The following privilege also allows the reaper to read the text of
-- other users' statements. If you do not want to grant it, see docs/throttles.md.
--
-- GRANT pg_read_all_stats TO session_reaper;
