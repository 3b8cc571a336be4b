-- Creates the indexes after the table is filled, which is faster and makes the indexes as compact as possible.
CREATE INDEX sessions_account_id_created_at_id_idx ON sessions (account_id, created_at, id);
CREATE INDEX sessions_expires_at_id_idx ON sessions (expires_at, id);
CREATE INDEX sessions_revoked_at_id_idx ON sessions (revoked_at, id) WHERE revoked_at IS NOT NULL;
VACUUM (FREEZE, ANALYZE) sessions;
