-- The reaper's own two tables: the run history, and the state that all reapers of a database share.
-- The tables are optional: without them, no run history is kept.

CREATE TABLE reaper_runs (
    id           uuid        PRIMARY KEY,
    instance     text        NOT NULL,
    version      text        NOT NULL,
    started_at   timestamptz NOT NULL DEFAULT now(),
    heartbeat_at timestamptz NOT NULL DEFAULT now(),
    finished_at  timestamptz,
    trigger      text        NOT NULL CHECK (trigger IN ('manual', 'schedule')),
    outcome      text        CHECK (outcome IN
        ('success', 'partial', 'skipped_lock', 'paused', 'failed', 'interrupted')),
    report       jsonb,
    CONSTRAINT reaper_runs_outcome_when_finished CHECK ((finished_at IS NULL) = (outcome IS NULL))
);

COMMENT ON TABLE reaper_runs IS 'One row a run of session-reaper, written when it starts; without finished_at it is under way, or was killed.';
COMMENT ON COLUMN reaper_runs.report IS 'The object that `run --output json` prints.';

CREATE INDEX reaper_runs_started_at_id_idx ON reaper_runs (started_at, id);

COMMENT ON INDEX reaper_runs_pkey IS 'A run''s heartbeat and its end.';
COMMENT ON INDEX reaper_runs_started_at_id_idx IS 'Reaper: the pass over old runs, by (started_at, id); the last runs, newest first.';

CREATE TABLE reaper_state (
    key        text        PRIMARY KEY,
    value      jsonb       NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 85);

COMMENT ON TABLE reaper_state IS 'What must be shared between reapers of one database: pause, confirmations, watermarks.';
COMMENT ON INDEX reaper_state_pkey IS 'A shared value by its key.';
