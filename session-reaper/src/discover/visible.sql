-- Returns the current database, role and time, and the relations that are visible in the configured
-- search_path. No other statement runs with that search_path. To be safe with that search_path,
-- this statement qualifies every name and uses no operator.
SELECT pg_catalog.current_database()::pg_catalog.text, current_user::pg_catalog.text,
    pg_catalog.date_part('epoch'::pg_catalog.text, pg_catalog.clock_timestamp()),
    ARRAY (SELECT c.oid FROM pg_catalog.pg_class c WHERE pg_catalog.pg_table_is_visible(c.oid))
