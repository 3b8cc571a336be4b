-- Selects the account of a session, and whether the session is active.
\set k random(1, :live)
SELECT account_id, expires_at > now() AND revoked_at IS NULL FROM sessions WHERE id = (SELECT id FROM live WHERE k = :k);
