ALTER TABLE sessions
    DROP CONSTRAINT sessions_previous_hash_check,
    DROP CONSTRAINT sessions_sealed_successor_check,
    ADD CONSTRAINT sessions_previous_hash_check CHECK (octet_length(previous_hash) = 32) NOT VALID,
    ADD CONSTRAINT sessions_sealed_successor_check CHECK (octet_length(sealed_successor) BETWEEN 40 AND 255) NOT VALID;
