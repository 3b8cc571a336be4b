-- Written in SQL because SET and WHERE both use the new expiry, and Diesel has no least(). The
-- replaced token remains valid until the session would have expired without this renewal. No token
-- is replaced while its predecessor is still valid.
UPDATE sessions
SET previous_hash = token_hash,
    previous_until = expires_at,
    token_hash = $1,
    sealed_successor = $2,
    expires_at = least(clock.at + span.ttl, absolute_expires_at)
FROM (SELECT clock_timestamp() AS at) AS clock,
     (SELECT $3::interval AS ttl) AS span
WHERE id = $4
  AND token_hash = $5
  AND revoked_at IS NULL
  AND expires_at > clock.at
  AND (previous_until IS NULL OR previous_until <= clock.at)
  AND least(clock.at + span.ttl, absolute_expires_at) >= expires_at + $6::interval
RETURNING expires_at, clock.at
