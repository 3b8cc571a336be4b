-- Deletes in heap order, without locking rows first. A chunk is the number of blocks that contain `chunk` rows.
CREATE PROCEDURE reap(cutoff timestamptz, chunk bigint, most bigint) LANGUAGE plpgsql AS $$
DECLARE
    blocks bigint := pg_relation_size('sessions') / current_setting('block_size')::bigint;
    step   bigint := greatest(1, (chunk * blocks / greatest(1, (SELECT reltuples FROM pg_class WHERE oid = 'sessions'::regclass)))::bigint);
    block  bigint := 0;
BEGIN
    WHILE block < blocks LOOP
        DELETE FROM sessions
        WHERE ctid >= format('(%s,0)', block)::tid AND ctid < format('(%s,0)', block + step)::tid AND expires_at < cutoff;
        COMMIT;
        block := block + step;
    END LOOP;
END $$;
