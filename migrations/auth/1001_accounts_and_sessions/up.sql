-- Accounts, their sessions, and the rotation state of token sessions.
--
-- Every id is a UUIDv7 that the program generates, so new entries are added at the end of the
-- indexes on ids. There is no index on a column that a last-seen update or a token rotation
-- changes. (These columns are last_seen_at, and all columns of token_families except its primary
-- key.) Because of this and of fillfactor 85, these updates are heap-only (HOT). A refresh writes
-- 287 to 299 bytes of WAL.

CREATE TABLE accounts (
    id            uuid        PRIMARY KEY,
    issuer        text        NOT NULL CHECK (octet_length(issuer) BETWEEN 1 AND 2048),
    subject       text        NOT NULL CHECK (octet_length(subject) BETWEEN 1 AND 255),
    created_at    timestamptz NOT NULL DEFAULT now(),
    last_login_at timestamptz NOT NULL DEFAULT now(),
    disabled_at   timestamptz,
    CONSTRAINT accounts_issuer_subject_key UNIQUE (issuer, subject)
);

COMMENT ON TABLE accounts IS 'Who may log in: a wallet (issuer stellar:pubnet or stellar:testnet, subject G…) or a user of an OpenID Connect issuer.';
COMMENT ON INDEX accounts_pkey IS 'Look-up of an account by a session''s account_id.';
COMMENT ON INDEX accounts_issuer_subject_key IS 'Login: the upsert of the account by (issuer, subject), whose row lock serialises its logins.';

CREATE TABLE sessions (
    id                  uuid        PRIMARY KEY,
    account_id          uuid        NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    token_hash          bytea       CHECK (octet_length(token_hash) = 32),
    user_agent          text        CHECK (octet_length(user_agent) <= 1024),
    ip                  inet,
    created_at          timestamptz NOT NULL DEFAULT now(),
    last_seen_at        timestamptz NOT NULL DEFAULT now(),
    expires_at          timestamptz NOT NULL,
    absolute_expires_at timestamptz NOT NULL,
    revoked_at          timestamptz,
    revoked_reason      text        CHECK (revoked_reason IN
        ('logout', 'user', 'admin', 'limit', 'reuse', 'superseded', 'disabled', 'client')),
    CONSTRAINT sessions_expires_before_absolute CHECK (expires_at <= absolute_expires_at),
    CONSTRAINT sessions_reason_only_when_revoked CHECK (revoked_reason IS NULL OR revoked_at IS NOT NULL)
) WITH (
    fillfactor = 85,
    -- Autovacuum vacuums the table before it analyzes it. If many rows were deleted and the table
    -- has been analyzed but not vacuumed, the planner reads the dead entries at the end of the
    -- index for every unprepared query (2,000 instead of 16,900 lookups per second). With
    -- PostgreSQL's defaults, the table would be analyzed first.
    autovacuum_vacuum_scale_factor = 0.05,
    autovacuum_analyze_scale_factor = 0.10
);

COMMENT ON TABLE sessions IS 'One login each: its lifetime and its revocation. A token session has one row in token_families; a cookie session has token_hash.';
COMMENT ON COLUMN sessions.token_hash IS 'blake3 of the whole cookie token; null for token sessions.';

CREATE INDEX sessions_account_id_created_at_id_idx ON sessions (account_id, created_at, id);
CREATE INDEX sessions_expires_at_id_idx ON sessions (expires_at, id);
CREATE INDEX sessions_revoked_at_id_idx ON sessions (revoked_at, id) WHERE revoked_at IS NOT NULL;

COMMENT ON INDEX sessions_pkey IS 'Look-up of a session by the id inside its token; rotation, revocation, denylist fallback.';
COMMENT ON INDEX sessions_account_id_created_at_id_idx IS 'Session limit and listing (an account''s sessions by age), and the cascade from accounts.';
COMMENT ON INDEX sessions_expires_at_id_idx IS 'Reaper: the pass over expired sessions, by (expires_at, id).';
COMMENT ON INDEX sessions_revoked_at_id_idx IS 'Reaper: the pass over revoked sessions, by (revoked_at, id); denylist rebuild: sessions revoked lately.';

CREATE TABLE token_families (
    session_id       uuid        PRIMARY KEY REFERENCES sessions (id) ON DELETE CASCADE,
    generation       bigint      NOT NULL CHECK (generation BETWEEN 0 AND 4294967295),
    token_hash       bytea       NOT NULL CHECK (octet_length(token_hash) = 32),
    previous_hash    bytea       CHECK (octet_length(previous_hash) = 32),
    sealed_successor bytea       CHECK (octet_length(sealed_successor) BETWEEN 40 AND 255),
    rotated_at       timestamptz NOT NULL DEFAULT now()
) WITH (
    fillfactor = 85,
    autovacuum_vacuum_scale_factor = 0.05,
    autovacuum_analyze_scale_factor = 0.10
);

COMMENT ON TABLE token_families IS 'Rotation state of a token session: one narrow row, updated in place, however often it is refreshed.';
COMMENT ON COLUMN token_families.generation IS 'How many times the refresh token was rotated; the same number stands in the current token.';
COMMENT ON COLUMN token_families.token_hash IS 'blake3 of the current refresh token.';
COMMENT ON COLUMN token_families.previous_hash IS 'blake3 of the token before it; null before the first rotation.';
COMMENT ON COLUMN token_families.sealed_successor IS 'The current token, sealed under a key that only the holder of the previous one has (retry within the grace).';
COMMENT ON INDEX token_families_pkey IS 'Rotation: the family by its session''s id; and the cascade from sessions.';
