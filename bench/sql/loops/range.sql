-- Deletes ranges in index order, without locking rows first. Waits for transactions that have locked a row.
CREATE PROCEDURE reap(cutoff timestamptz, chunk bigint, most bigint) LANGUAGE plpgsql AS $$
DECLARE
    low  timestamptz := '-infinity';
    high timestamptz;
BEGIN
    LOOP
        SELECT expires_at INTO high FROM sessions WHERE expires_at >= low AND expires_at < cutoff
        ORDER BY expires_at OFFSET chunk LIMIT 1;
        DELETE FROM sessions WHERE expires_at >= low AND expires_at < coalesce(high, cutoff);
        COMMIT;
        EXIT WHEN high IS NULL;
        low := high;
    END LOOP;
END $$;
