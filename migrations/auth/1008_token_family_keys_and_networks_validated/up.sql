SET LOCAL lock_timeout = '2s';
ALTER TABLE token_families
    VALIDATE CONSTRAINT token_families_last_ipv4_check,
    VALIDATE CONSTRAINT token_families_last_ipv6_check,
    VALIDATE CONSTRAINT token_families_key_check;
