//! The run history of a day with one run every quarter of an hour, as a daemon records it.

use testkit::Database;

/// Inserts the runs. At night, they deleted few rows. One run failed, one was partial, and one was
/// skipped because another reaper held the lock.
pub(crate) async fn of_a_day(database: &Database) {
    database
        .execute(
            r#"
            INSERT INTO reaper_runs (id, instance, version, started_at, heartbeat_at, finished_at, trigger, outcome, report)
            SELECT r.id, 'reaper-7d9f:1', '0.1.0', started, started + took, started + took, 'schedule', r.outcome,
                jsonb_build_object('run_id', r.id, 'outcome', r.outcome, 'why', r.why, 'started_at', to_char(started AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
                    'elapsed_ms', extract(epoch FROM took)::bigint * 1000,
                    'targets', jsonb_build_array(
                        jsonb_build_object('target', 'sessions', 'outcome', r.outcome, 'why', r.why,
                            'deleted', jsonb_build_object('expired', rows, 'revoked', rows / 9), 'chunks', chunks, 'skipped_locked', n % 3,
                            'remaining', CASE WHEN r.outcome = 'success' THEN 0 ELSE 4210 END, 'remaining_capped', false, 'elapsed_ms', 900,
                            'chunk_ms', jsonb_build_object('mean', 7.5 + 2.5 * sin(n / 7.0) + n * 37 % 5 * 0.3, 'max', 13 + n * 53 % 17 + CASE WHEN n = 41 THEN 44 ELSE 0 END)),
                        jsonb_build_object('target', 'consumed_challenges', 'outcome', 'success', 'why', 'no due rows are left',
                            'deleted', jsonb_build_object('expired', rows / 5), 'chunks', 2, 'skipped_locked', 0,
                            'remaining', 0, 'remaining_capped', false, 'elapsed_ms', 40, 'chunk_ms', jsonb_build_object('mean', 2.1, 'max', 3.4))))
            FROM generate_series(1, 95) AS n,
            LATERAL (SELECT date_trunc('hour', now()) + floor(extract(minute FROM now()) / 15) * interval '15 min' - (95 - n) * interval '15 min' - interval '15 min') AS t (started),
            LATERAL (SELECT (1400 + 1250 * sin((extract(hour FROM started) + extract(minute FROM started) / 60 - 8) / 24 * 2 * pi()) + n * 71 % 240)::bigint AS base) AS b,
            LATERAL (SELECT CASE WHEN n IN (55, 20) THEN 0 WHEN n = 56 THEN base * 2 ELSE base END AS rows) AS d,
            LATERAL (SELECT CASE WHEN rows = 0 THEN 0 ELSE rows / 900 + 1 END AS chunks, interval '1 s' + rows * interval '2 ms' AS took) AS c,
            LATERAL (SELECT gen_random_uuid() AS id,
                CASE n WHEN 55 THEN 'failed' WHEN 78 THEN 'partial' WHEN 20 THEN 'skipped_lock' ELSE 'success' END AS outcome,
                CASE n WHEN 55 THEN 'sessions: LOCK_TIMEOUT reached 8 times in a row'
                       WHEN 78 THEN 'sessions: MAX_RUNTIME of 30s is used up and due rows are left'
                       WHEN 20 THEN 'sessions: another reaper holds the lock' ELSE 'no due rows are left' END AS why) AS r"#,
        )
        .await;
}
