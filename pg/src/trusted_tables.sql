-- Looks up each name in $1 on the search path. Returns the table with that name, and an untrusted
-- role that owns the table or the function of a trigger on the table. The role is NULL if there is
-- no such role. $2 contains the oids of the trusted roles.
SELECT named.name, pg_catalog.format('%I.%I', n.nspname, c.relname),
    CASE WHEN c.relowner OPERATOR(pg_catalog.<>) ALL ($2) AND c.relowner OPERATOR(pg_catalog.<>) n.nspowner
        THEN pg_catalog.pg_get_userbyid(c.relowner)::pg_catalog.text
        ELSE (SELECT pg_catalog.min(pg_catalog.pg_get_userbyid(p.proowner)::pg_catalog.text)
              FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_proc p ON p.oid OPERATOR(pg_catalog.=) t.tgfoid
              WHERE t.tgrelid OPERATOR(pg_catalog.=) c.oid AND NOT t.tgisinternal
                  AND p.proowner OPERATOR(pg_catalog.<>) ALL ($2)
                  AND p.proowner OPERATOR(pg_catalog.<>) c.relowner AND p.proowner OPERATOR(pg_catalog.<>) n.nspowner)
    END
FROM pg_catalog.unnest($1) AS named (name)
    JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) pg_catalog.to_regclass(named.name)::pg_catalog.oid
    JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
