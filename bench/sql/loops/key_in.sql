-- The loop that most projects use: it selects keys from the beginning each time. Unlike most of those loops, it uses
-- ORDER BY, so that it always uses the index. It stops after `most` rows, because more rows would take too long: with
-- an old snapshot, each chunk reads the index entries of all rows that earlier chunks deleted.
CREATE PROCEDURE reap(cutoff timestamptz, chunk bigint, most bigint) LANGUAGE plpgsql AS $$
DECLARE
    rows bigint;
    gone bigint := 0;
BEGIN
    LOOP
        DELETE FROM sessions WHERE id IN (
            SELECT id FROM sessions WHERE expires_at < cutoff ORDER BY expires_at LIMIT chunk FOR UPDATE SKIP LOCKED);
        GET DIAGNOSTICS rows = ROW_COUNT;
        COMMIT;
        gone := gone + rows;
        EXIT WHEN rows = 0 OR gone >= most;
    END LOOP;
END $$;
