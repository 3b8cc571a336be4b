-- Written in SQL because Diesel's UPDATE does not support ordered subqueries. Rows are locked in
-- the order of their ids (lock order).
UPDATE sessions
SET revoked_at = clock_timestamp(), revoked_reason = $1
WHERE id = ANY (ARRAY (
    SELECT id FROM sessions
    WHERE id = ANY ($2) AND revoked_at IS NULL AND expires_at > clock_timestamp()
    ORDER BY id
    FOR NO KEY UPDATE))
  AND revoked_at IS NULL
RETURNING id
