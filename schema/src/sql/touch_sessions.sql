-- Written in SQL because Diesel does not support SKIP LOCKED in a subquery of UPDATE. Locked
-- sessions are skipped, because another transaction is changing them anyway. Sessions that have
-- ended must not be changed.
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
