-- The table of a case. It has the columns, constraints and indexes of `sessions` in migrations/auth, but no foreign
-- keys. The measurement therefore includes no cascades. Their cost would be the same for all ways.
CREATE TABLE sessions (
    id                  uuid        PRIMARY KEY,
    account_id          uuid        NOT NULL,
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
) WITH (fillfactor = 85, autovacuum_enabled = false);
