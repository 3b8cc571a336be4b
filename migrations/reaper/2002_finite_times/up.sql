-- The times of a run must be finite. Otherwise, a program could set a time to `-infinity`, which no
-- reader can show. Existing rows are not validated, because readers skip rows that they cannot
-- read.
SET LOCAL lock_timeout = '2s';

ALTER TABLE reaper_runs ADD CONSTRAINT reaper_runs_finite_times CHECK (
    isfinite(started_at) AND isfinite(heartbeat_at) AND (finished_at IS NULL OR isfinite(finished_at))
) NOT VALID;
