-- Adds three kinds of data: the key that proves that a family issued a token; the networks and the
-- counts that detect retries from another network; and the expiry that clients are shown shortly
-- after a rotation.
SET LOCAL lock_timeout = '2s';

-- The order matters: if the end of a row does not change, the WAL record of an in-place update
-- omits it. Columns that rarely change therefore come last.
ALTER TABLE token_families
    ADD COLUMN recorded_generation bigint,
    ADD COLUMN previous_expires_at timestamptz,
    ADD COLUMN last_ipv4 inet,
    ADD COLUMN last_ipv6 inet,
    ADD COLUMN foreign_generation bigint,
    ADD COLUMN foreign_generations integer,
    ADD COLUMN key bytea;

-- The next migration validates the constraints, without blocking writers.
ALTER TABLE token_families
    ADD CONSTRAINT token_families_last_ipv4_check CHECK (family(last_ipv4) = 4) NOT VALID,
    ADD CONSTRAINT token_families_last_ipv6_check CHECK (family(last_ipv6) = 6 AND masklen(last_ipv6) = 64) NOT VALID,
    ADD CONSTRAINT token_families_key_check CHECK (octet_length(key) = 32) NOT VALID;

COMMENT ON COLUMN token_families.recorded_generation IS 'The generation whose rotation wrote previous_expires_at and the networks; an auth-api of before these columns leaves it behind.';
COMMENT ON COLUMN token_families.previous_expires_at IS 'expires_at of the session before the last rotation; shown to clients while the rotation is young.';
COMMENT ON COLUMN token_families.last_ipv4 IS 'The last IPv4 address that logged in or rotated.';
COMMENT ON COLUMN token_families.last_ipv6 IS 'The /64 of the last IPv6 address that logged in or rotated.';
COMMENT ON COLUMN token_families.foreign_generation IS 'The last generation with a retry from another network than these.';
COMMENT ON COLUMN token_families.foreign_generations IS 'How many generations in a row had one, up to that.';
COMMENT ON COLUMN token_families.key IS '32 random bytes: half of each refresh token''s secret is a keyed blake3 under it. Null in families of before this column.';
