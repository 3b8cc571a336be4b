-- Fills the table. Half of the rows expired 2 to 32 days ago, and the other half expires in 1 to 31 days, so that the exact
-- time does not affect which rows are due. {place} is the position of a row among the expiry times. Rows are inserted in
-- the order of n. IDs increase, as UUIDv7 do. A row takes about 280 bytes.
INSERT INTO sessions (id, account_id, token_hash, user_agent, ip, created_at, last_seen_at, expires_at, absolute_expires_at)
SELECT encode(int8send(112000000000000000 + n * 1000) || substr(sha256(int8send(n)), 1, 8), 'hex')::uuid,
       encode(substr(sha256(int8send(n % 50000)), 1, 16), 'hex')::uuid,
       sha256(int8send(-n)),
       'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36 sessions/1 ' || n,
       '10.0.0.0'::inet + n % 16777216,
       at - interval '30 days', at - interval '1 day', at, at + interval '60 days'
FROM (SELECT n,
             now() + CASE WHEN 2 * place < {rows} THEN interval '-32 days' ELSE interval '-29 days' END
                   + interval '60 days' * place / {rows} AS at
      FROM (SELECT n, {place} AS place FROM generate_series(0::bigint, {rows} - 1) AS n) AS placed
      ORDER BY n) AS timed;
