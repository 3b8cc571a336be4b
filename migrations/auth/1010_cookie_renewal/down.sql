ALTER TABLE sessions
    DROP COLUMN previous_hash,
    DROP COLUMN previous_until,
    DROP COLUMN sealed_successor;
