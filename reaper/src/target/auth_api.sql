-- Returns the tables of auth-api as found on the search_path, and the parts of auth-api's structure
-- that each table lacks. The check uses the structure and not the versions of migrations, so that
-- an older reaper works with a newer auth-api.
--
-- All functions, types and operators are schema-qualified, and all operands have exactly the types
-- that their operators expect. So a role that may create objects in a schema of the search path
-- cannot replace any function, type or operator.
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
    -- This table has no foreign key to the other tables. It is recognized by its key and its
    -- schema: `auth-api migrate` creates all tables in one schema.
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
