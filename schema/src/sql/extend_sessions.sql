-- In SQL as extend_session.sql, and because Diesel has no SKIP LOCKED in a sub-select of UPDATE: a session that somebody holds
-- is extended when it is used next.
UPDATE sessions
SET expires_at = least(slide.until, absolute_expires_at)
FROM (SELECT clock_timestamp() + $1::interval AS until) AS slide
WHERE id = ANY (ARRAY (
    SELECT id FROM sessions
    WHERE id = ANY ($2) AND revoked_at IS NULL AND expires_at > clock_timestamp()
    ORDER BY id
    FOR NO KEY UPDATE SKIP LOCKED))
  AND revoked_at IS NULL
  AND expires_at > clock_timestamp()
  AND least(slide.until, absolute_expires_at) >= expires_at + $3::interval
RETURNING id
