-- In SQL because FOR UPDATE OF one table of a join is not in the DSL; the session is locked already (lock order).
SELECT session.account_id, account.issuer, account.subject,
       session.created_at, session.expires_at, session.absolute_expires_at, clock_timestamp(),
       coalesce(session.revoked_at, account.disabled_at), family.generation, family.token_hash, family.previous_hash,
       family.sealed_successor, family.rotated_at, family.previous_rotated_at, family.attempt_hash
FROM token_families AS family
JOIN sessions AS session ON session.id = family.session_id
JOIN accounts AS account ON account.id = session.account_id
WHERE family.session_id = $1
FOR UPDATE OF family
