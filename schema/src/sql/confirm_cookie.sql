-- Written in SQL because SET and WHERE both use the new value of previous_until, computed from the
-- same reading of the clock.
UPDATE sessions
SET previous_until = clock.at + span.grace
FROM (SELECT clock_timestamp() AS at) AS clock,
     (SELECT $1::interval AS grace) AS span
WHERE id = $2
  AND token_hash = $3
  AND revoked_at IS NULL
  AND previous_until > clock.at + span.grace
RETURNING previous_until
