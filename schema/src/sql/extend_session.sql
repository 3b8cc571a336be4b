-- Written in SQL because SET and WHERE both use the new expiry, and Diesel has no least().
UPDATE sessions
SET expires_at = least(slide.until, absolute_expires_at)
FROM (SELECT clock_timestamp() + $1::interval AS until) AS slide
WHERE id = $2
  AND revoked_at IS NULL
  AND expires_at > clock_timestamp()
  AND least(slide.until, absolute_expires_at) >= expires_at + $3::interval
RETURNING expires_at
