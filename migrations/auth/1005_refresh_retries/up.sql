-- The data that distinguishes a retry from reuse if the time since the last rotation is not
-- sufficient.
SET LOCAL lock_timeout = '2s';

ALTER TABLE token_families
    ADD COLUMN previous_rotated_at timestamptz,
    ADD COLUMN attempt_hash bytea;

-- The next migration validates the constraint, without blocking writers.
ALTER TABLE token_families
    ADD CONSTRAINT token_families_attempt_hash_check CHECK (octet_length(attempt_hash) = 32) NOT VALID;

COMMENT ON COLUMN token_families.previous_rotated_at IS 'rotated_at of the generation before; null before the first rotation.';
COMMENT ON COLUMN token_families.attempt_hash IS 'blake3 of the last rotation''s Idempotency-Key with session and generation; null if the rotation had none.';
COMMENT ON COLUMN token_families.sealed_successor IS 'The current token, sealed under a key derived from the previous one and AUTH_SECRET (retry).';
