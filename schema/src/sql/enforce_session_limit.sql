-- Written in SQL because Diesel's UPDATE does not support ordered subqueries. A login ends two
-- kinds of sessions: the session whose cookie the login replaces, which may belong to another
-- account; and the oldest sessions of the account beyond the limit. One statement ends all of them,
-- so that their rows are locked in the order of their ids (lock order).
WITH replaced AS (
    SELECT id FROM sessions
    WHERE id = $1 AND $2 IN (token_hash, previous_hash) AND revoked_at IS NULL AND expires_at > clock_timestamp()
), beyond AS (
    SELECT id FROM sessions
    WHERE account_id = $3 AND id <> $4 AND id NOT IN (SELECT id FROM replaced)
      AND revoked_at IS NULL AND expires_at > clock_timestamp()
    ORDER BY created_at DESC, id DESC
    OFFSET $5
)
UPDATE sessions
SET revoked_at = clock_timestamp(),
    revoked_reason = CASE WHEN id IN (SELECT id FROM replaced) THEN 'superseded' ELSE 'limit' END
WHERE id = ANY (ARRAY (
    SELECT id FROM sessions
    WHERE id = ANY (ARRAY (SELECT id FROM replaced UNION ALL SELECT id FROM beyond))
    ORDER BY id
    FOR NO KEY UPDATE))
  AND revoked_at IS NULL
RETURNING id, revoked_reason = 'superseded'
