SET LOCAL lock_timeout = '2s';

ALTER TABLE reaper_runs DROP CONSTRAINT reaper_runs_finite_times;
