-- Deletes in index order, starting at a watermark. Locks rows first and skips rows that are already
-- locked.
CREATE PROCEDURE reap(cutoff timestamptz, chunk bigint, most bigint) LANGUAGE plpgsql AS $$
DECLARE
    low  timestamptz := '-infinity';
    high timestamptz;
    rows bigint;
BEGIN
    LOOP
        WITH gone AS (
            DELETE FROM sessions WHERE ctid = ANY (ARRAY (
                SELECT ctid FROM sessions WHERE expires_at >= low AND expires_at < cutoff
                ORDER BY expires_at LIMIT chunk FOR UPDATE SKIP LOCKED))
            RETURNING expires_at)
        SELECT count(*), max(expires_at) INTO rows, high FROM gone;
        COMMIT;
        EXIT WHEN rows = 0;
        low := high;
    END LOOP;
END $$;
