-- Written in SQL because the insert depends on the database's clock, and both results must use the
-- same reading of the clock.
WITH challenge AS MATERIALIZED (
    SELECT challenge.expires_at, challenge.expires_at > clock_timestamp() AS valid
    FROM (VALUES ($1::timestamptz)) AS challenge (expires_at)
), consumed AS (
    INSERT INTO consumed_challenges (nonce_hash, expires_at)
    SELECT $2, challenge.expires_at FROM challenge WHERE challenge.valid
    ON CONFLICT DO NOTHING
    RETURNING 1
)
SELECT challenge.valid, EXISTS (SELECT FROM consumed) FROM challenge
