SET LOCAL lock_timeout = '2s';
ALTER TABLE token_families VALIDATE CONSTRAINT token_families_attempt_hash_check;
