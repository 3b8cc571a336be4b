DROP TABLE reaper_state;
DROP TABLE reaper_runs;
