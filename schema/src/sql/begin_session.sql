-- Written in SQL because all four times are computed from the same reading of the clock, which is
-- taken after the account's row has been locked.
INSERT INTO sessions
    (id, account_id, token_hash, user_agent, ip, created_at, last_seen_at, expires_at, absolute_expires_at)
SELECT $1, $2, $3, $4, $5, clock.at, clock.at, least(clock.at + span.ttl, clock.at + span.max_age), clock.at + span.max_age
FROM (SELECT clock_timestamp() AS at) AS clock,
     (SELECT $6::interval AS ttl, $7::interval AS max_age) AS span
RETURNING created_at, expires_at, absolute_expires_at
