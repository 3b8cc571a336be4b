-- In SQL because Diesel has no SKIP LOCKED in a sub-select of UPDATE. A session that somebody holds is being changed
-- anyway, and one that has ended stays as it is.
UPDATE sessions
SET last_seen_at = clock_timestamp()
WHERE id = ANY (ARRAY (
    SELECT id FROM sessions
    WHERE id = ANY ($1) AND revoked_at IS NULL AND expires_at > clock_timestamp()
    ORDER BY id
    FOR NO KEY UPDATE SKIP LOCKED))
  AND revoked_at IS NULL
  AND expires_at > clock_timestamp()
  AND last_seen_at <= clock_timestamp() - $2::interval
RETURNING id
