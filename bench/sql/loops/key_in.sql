-- What most projects have: keys, picked from the beginning each time. Ordered, which most are not, so that it stays on
-- the index. It ends after `most` rows: with an old snapshot held each chunk walks over all that went before.
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
