ALTER TABLE token_families
    DROP CONSTRAINT token_families_attempt_hash_check,
    ADD CONSTRAINT token_families_attempt_hash_check CHECK (octet_length(attempt_hash) = 32) NOT VALID;
