-- Returns, for each column ($1 tables, $2 names), whether a pass can scan an index on the column. A
-- partial index is suitable only if its predicate is `column IS NOT NULL` (nulltesttype 1). The
-- query examines the node tree of the predicate, because the functions that convert the tree to SQL
-- (pg_get_expr, pg_get_indexdef) wait for a lock on the table.
SELECT w.oid, w.name,
    EXISTS (SELECT FROM pg_index i
            JOIN pg_class x ON x.oid = i.indexrelid
            JOIN pg_am m ON m.oid = x.relam AND m.amname = 'btree'
            WHERE i.indrelid = w.oid AND i.indisvalid AND i.indisready AND i.indkey[0] = a.attnum
                AND (i.indpred IS NULL OR i.indpred::text ~
                     format('^\{NULLTEST :arg \{VAR :varno 1 :varattno %s [^{}]*\} :nulltesttype 1 [^{}]*\}$', a.attnum)))
FROM unnest($1::oid[], $2::text[]) AS w (oid, name)
JOIN pg_attribute a ON a.attrelid = w.oid AND a.attname = w.name
