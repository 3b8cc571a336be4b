-- The times of a run are finite. A program could otherwise set one to `-infinity`, which no reader
-- can show. Existing rows are not validated: readers skip those that they cannot read.
SET LOCAL lock_timeout = '2s';

ALTER TABLE reaper_runs ADD CONSTRAINT reaper_runs_finite_times CHECK (
    isfinite(started_at) AND isfinite(heartbeat_at) AND (finished_at IS NULL OR isfinite(finished_at))
) NOT VALID;
