ALTER TABLE token_families
    DROP CONSTRAINT token_families_last_ipv4_check,
    DROP CONSTRAINT token_families_last_ipv6_check,
    DROP CONSTRAINT token_families_key_check,
    ADD CONSTRAINT token_families_last_ipv4_check CHECK (family(last_ipv4) = 4) NOT VALID,
    ADD CONSTRAINT token_families_last_ipv6_check CHECK (family(last_ipv6) = 6 AND masklen(last_ipv6) = 64) NOT VALID,
    ADD CONSTRAINT token_families_key_check CHECK (octet_length(key) = 32) NOT VALID;
