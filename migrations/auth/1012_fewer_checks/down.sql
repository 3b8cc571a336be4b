ALTER TABLE token_families
    ADD CONSTRAINT token_families_last_ipv4_check CHECK (family(last_ipv4) = 4),
    ADD CONSTRAINT token_families_last_ipv6_check CHECK (family(last_ipv6) = 6 AND masklen(last_ipv6) = 64),
    ADD CONSTRAINT token_families_key_check CHECK (octet_length(key) = 32);
ALTER TABLE sessions
    ADD CONSTRAINT sessions_previous_hash_check CHECK (octet_length(previous_hash) = 32),
    ADD CONSTRAINT sessions_sealed_successor_check CHECK (octet_length(sealed_successor) BETWEEN 40 AND 255);
