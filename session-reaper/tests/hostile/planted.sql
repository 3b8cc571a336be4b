-- The schema `planted`. Each planted function raises an error when it is called, because shell_in, which implements it,
-- raises an error for any arguments. The copies are inserted directly into the catalog, because some of the objects
-- cannot be created by a statement.
SET allow_system_table_mods = on;
CREATE SCHEMA planted;

CREATE TEMPORARY TABLE f AS SELECT * FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace AND prokind IN ('f', 'a', 'w');
CREATE TEMPORARY TABLE copied AS SELECT oid AS old, (1000000000 + row_number() OVER (ORDER BY oid))::oid AS new FROM f;
UPDATE f SET oid = new, pronamespace = 'planted'::regnamespace, prosupport = 0, prosqlbody = NULL, probin = NULL
    FROM copied WHERE old = f.oid;
UPDATE f SET prolang = (SELECT oid FROM pg_language WHERE lanname = 'internal'), prosrc = 'shell_in', proisstrict = false
    WHERE prokind = 'f';
INSERT INTO pg_proc SELECT * FROM f;

CREATE TEMPORARY TABLE a AS SELECT g.* FROM pg_aggregate g JOIN copied ON old = g.aggfnoid::oid;
UPDATE a SET aggtransfn = (SELECT new FROM copied WHERE old = aggtransfn::oid)::regproc;
UPDATE a SET aggfnoid = new::regproc FROM copied WHERE old = aggfnoid::oid;
INSERT INTO pg_aggregate SELECT * FROM a;

CREATE TEMPORARY TABLE o AS SELECT * FROM pg_operator WHERE oprnamespace = 'pg_catalog'::regnamespace;
UPDATE o SET oid = (1000050000 + n)::oid, oprnamespace = 'planted'::regnamespace, oprrest = 0, oprjoin = 0, oprcom = 0, oprnegate = 0,
    oprcode = (SELECT new::regproc FROM copied WHERE old = o.oprcode::oid)
    FROM (SELECT oid, row_number() OVER (ORDER BY oid) AS n FROM o) AS numbered WHERE numbered.oid = o.oid;
INSERT INTO pg_operator SELECT * FROM o;
DROP TABLE f, a, o, copied;

DO $$
DECLARE r record;
BEGIN
    FOR r IN SELECT c.oid::regclass AS of, relname FROM pg_class c
             WHERE relkind IN ('r', 'p', 'v') AND relnamespace IN ('pg_catalog'::regnamespace, 'public'::regnamespace)
             ORDER BY relname
    LOOP
        EXECUTE format('CREATE VIEW planted.%I AS SELECT * FROM %s', r.relname, r.of);
    END LOOP;
    FOR r IN SELECT typname FROM pg_type WHERE typnamespace = 'pg_catalog'::regnamespace AND typtype = 'b' AND typcategory <> 'A'
    LOOP
        EXECUTE format('CREATE DOMAIN planted.%I AS pg_catalog.%I', r.typname, r.typname);
    END LOOP;
END
$$;
