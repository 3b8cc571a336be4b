-- Inserts {rows} sessions, each with its own account and token family, so that look-ups use indexes of a realistic depth.
INSERT INTO accounts (id, issuer, subject)
SELECT encode(int8send(112000000000000000 + n * 1000) || substr(sha256(int8send(n)), 1, 8), 'hex')::uuid,
       'stellar:testnet', 'other ' || n
FROM generate_series(1::bigint, {rows}) AS n;
INSERT INTO sessions (id, account_id, user_agent, ip, expires_at, absolute_expires_at)
SELECT id, id, 'Mozilla/5.0 (X11; Linux x86_64) ' || subject, '10.0.0.1', now() + interval '30 days', now() + interval '90 days'
FROM accounts;
INSERT INTO token_families (session_id, generation, token_hash)
SELECT id, 0, sha256(id::text::bytea)
FROM sessions;
