-- A challenge is not stored until it is used. A used challenge is stored here until it has expired
-- and could not be used again.

CREATE TABLE consumed_challenges (
    nonce_hash bytea       PRIMARY KEY CHECK (octet_length(nonce_hash) = 32),
    expires_at timestamptz NOT NULL
) WITH (
    autovacuum_vacuum_scale_factor = 0.05,
    autovacuum_analyze_scale_factor = 0.10
);

COMMENT ON TABLE consumed_challenges IS 'Login challenges that were used, until some time after they expired: a second use is a replay.';
COMMENT ON COLUMN consumed_challenges.nonce_hash IS 'blake3 of the challenge''s nonce.';

CREATE INDEX consumed_challenges_expires_at_nonce_hash_idx ON consumed_challenges (expires_at, nonce_hash);

COMMENT ON INDEX consumed_challenges_pkey IS 'Login: consuming a nonce; a conflict is a replay.';
COMMENT ON INDEX consumed_challenges_expires_at_nonce_hash_idx IS 'Reaper: the pass over challenges past their expiry, by (expires_at, nonce_hash).';
