ALTER TABLE token_families
    DROP COLUMN key,
    DROP COLUMN foreign_generations,
    DROP COLUMN foreign_generation,
    DROP COLUMN last_ipv6,
    DROP COLUMN last_ipv4,
    DROP COLUMN previous_expires_at,
    DROP COLUMN recorded_generation;
