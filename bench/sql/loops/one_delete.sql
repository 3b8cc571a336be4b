-- One statement in one transaction. It shows the limit of the server, but is not acceptable for a table in use.
CREATE PROCEDURE reap(cutoff timestamptz, chunk bigint, most bigint) LANGUAGE sql AS $$
    DELETE FROM sessions WHERE expires_at < cutoff;
$$;
