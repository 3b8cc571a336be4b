-- Of columns ($1 tables, $2 names): whether a pass can walk along an index.
-- Whether one is for `column IS NOT NULL` alone (nulltesttype 1) stands in the tree of its predicate. What would put the
-- tree into words (pg_get_expr, pg_get_indexdef) takes a lock on the table, and waits for it.
SELECT w.oid, w.name,
    EXISTS (SELECT FROM pg_index i
            JOIN pg_class x ON x.oid = i.indexrelid
            JOIN pg_am m ON m.oid = x.relam AND m.amname = 'btree'
            WHERE i.indrelid = w.oid AND i.indisvalid AND i.indisready AND i.indkey[0] = a.attnum
                AND (i.indpred IS NULL OR i.indpred::text ~
                     format('^\{NULLTEST :arg \{VAR :varno 1 :varattno %s [^{}]*\} :nulltesttype 1 [^{}]*\}$', a.attnum)))
FROM unnest($1::oid[], $2::text[]) AS w (oid, name)
JOIN pg_attribute a ON a.attrelid = w.oid AND a.attname = w.name
