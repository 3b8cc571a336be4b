-- Relations that the configured search_path leads to by name alone, and which database, role and time this is. The only
-- statement that runs on that path: each name has its schema, and no operator is used.
SELECT pg_catalog.current_database()::pg_catalog.text, current_user::pg_catalog.text,
    pg_catalog.date_part('epoch'::pg_catalog.text, pg_catalog.clock_timestamp()),
    ARRAY (SELECT c.oid FROM pg_catalog.pg_class c WHERE pg_catalog.pg_table_is_visible(c.oid))
