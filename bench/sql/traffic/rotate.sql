-- Replaces the token hash in place, and commits to disk.
\set k random(1, :live)
UPDATE sessions SET token_hash = sha256(token_hash), last_seen_at = now()
WHERE id = (SELECT id FROM live WHERE k = :k) AND expires_at > now() AND revoked_at IS NULL RETURNING account_id;
