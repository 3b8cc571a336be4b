-- Written in SQL because Diesel has no UPDATE … FROM, which is needed to return the times of the
-- session in the same round trip. Only the row of the family is locked. A revocation that commits
-- concurrently takes precedence, because no token of a revoked session is valid.
UPDATE token_families AS family
SET generation = family.generation + 1,
    previous_hash = family.token_hash,
    token_hash = $1,
    sealed_successor = $2,
    attempt_hash = $3,
    previous_rotated_at = family.rotated_at,
    rotated_at = clock_timestamp(),
    recorded_generation = family.generation + 1,
    previous_expires_at = session.expires_at,
    last_ipv4 = coalesce($4, family.last_ipv4),
    last_ipv6 = coalesce($5, family.last_ipv6)
FROM sessions AS session
JOIN accounts AS account ON account.id = session.account_id
WHERE family.session_id = $6
  AND family.generation = $7
  AND family.token_hash = $8
  AND session.id = family.session_id
  AND session.revoked_at IS NULL
  AND session.expires_at > clock_timestamp()
  AND account.disabled_at IS NULL
RETURNING session.account_id, account.subject, session.created_at,
          session.expires_at, session.absolute_expires_at, clock_timestamp()
