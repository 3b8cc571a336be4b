-- When the expiry of a cookie session is extended, the session gets a new token. The previous token
-- remains valid for a while, because the browser may not have stored the response that contained
-- the new token.
SET LOCAL lock_timeout = '2s';

ALTER TABLE sessions
    ADD COLUMN previous_hash bytea,
    ADD COLUMN previous_until timestamptz,
    ADD COLUMN sealed_successor bytea;

-- The next migration validates the constraints, without blocking writers.
ALTER TABLE sessions
    ADD CONSTRAINT sessions_previous_hash_check CHECK (octet_length(previous_hash) = 32) NOT VALID,
    ADD CONSTRAINT sessions_sealed_successor_check CHECK (octet_length(sealed_successor) BETWEEN 40 AND 255) NOT VALID;

COMMENT ON COLUMN sessions.previous_hash IS 'blake3 of the cookie token before the current one; null before the first renewal.';
COMMENT ON COLUMN sessions.previous_until IS 'Until when the previous cookie token is good: the grace after the current one was presented, and never past the expiry that it had.';
COMMENT ON COLUMN sessions.sealed_successor IS 'The current cookie token, sealed under a key derived from the previous one and AUTH_SECRET.';
