COMMENT ON COLUMN token_families.sealed_successor IS 'The current token, sealed under a key that only the holder of the previous one has (retry within the grace).';
ALTER TABLE token_families DROP COLUMN attempt_hash, DROP COLUMN previous_rotated_at;
