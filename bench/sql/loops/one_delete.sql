-- One statement, one transaction: what the server can do at the most, and what no table with traffic on it can bear.
CREATE PROCEDURE reap(cutoff timestamptz, chunk bigint, most bigint) LANGUAGE sql AS $$
    DELETE FROM sessions WHERE expires_at < cutoff;
$$;
