SET LOCAL lock_timeout = '2s';
ALTER TABLE sessions VALIDATE CONSTRAINT sessions_previous_hash_check;
ALTER TABLE sessions VALIDATE CONSTRAINT sessions_sealed_successor_check;
