//! `config`: shows the settings in effect, one per line, without secrets.

use std::fmt::Write as _;
use std::time::Duration;

use super::print;
use crate::config::{DaemonConfig, RETENTIONS};
use crate::telemetry::LogFormat;
use reaper::{Sweep, Target};

/// Prints the settings of a daemon with this configuration. The settings of a run are the same,
/// except that a run has no schedule and no operations port.
pub fn config(config: &DaemonConfig) {
    print(&text(config));
}

fn text(config: &DaemonConfig) -> String {
    let DaemonConfig { service, spans, log } = config;
    let Sweep { pace, throttle, budget, bounds, preflight, first_run, .. } = &service.sweep;
    let replicas = throttle.replicas.as_ref();
    let (schedule, timezone) = service.schedule.written();
    let mut settings = vec![
        ("DATABASE_URL", "(not shown)".to_owned()),
        (
            "LOG_FORMAT",
            match log.format {
                LogFormat::Text => "text".to_owned(),
                LogFormat::Json => "json".to_owned(),
            },
        ),
        ("RUST_LOG", log.filter.to_string()),
        ("CHUNK_TIME", time(pace.chunk_time)),
        ("MAX_CHUNK", pace.max_chunk.to_string()),
        ("DUTY_CYCLE", pace.duty_cycle.to_string()),
        ("MAX_REPLICA_LAG", replicas.map_or("off".to_owned(), |limit| time(limit.lag))),
        ("REPLICAS", replicas.map(|limit| limit.names.join(",")).unwrap_or_default()),
        ("REPLICA_LAG_QUERY", replicas.and_then(|limit| limit.query.clone()).unwrap_or_default()),
        ("MAX_ACTIVE_BACKENDS", throttle.max_active.map(|n| n.to_string()).unwrap_or_default()),
        ("WAIT_FOR_VACUUM", if throttle.vacuum { "on" } else { "off" }.to_owned()),
        ("THROTTLE_QUERY", throttle.query.clone().unwrap_or_default()),
        ("MAX_THROTTLE", time(throttle.longest_wait)),
        ("MAX_RUNTIME", budget.runtime.map(time).unwrap_or_default()),
        ("MAX_ROWS", budget.rows.map(|rows| rows.to_string()).unwrap_or_default()),
        ("LOCK_TIMEOUT", time(bounds.lock)),
        ("STATEMENT_TIMEOUT", time(bounds.statement)),
        ("MAX_SCAN_ROWS", preflight.max_scan_rows.to_string()),
        ("MAX_FRACTION", first_run.max_fraction.to_string()),
    ];
    settings.extend(retentions(&service.sweep));
    settings.extend([
        (
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            if spans.is_some() { "(not shown)".to_owned() } else { String::new() },
        ),
        ("SCHEDULE", schedule),
        ("TIMEZONE", timezone.to_owned()),
        ("JITTER", time(service.jitter)),
        ("OPS_BIND", service.ops_bind.to_string()),
        ("OPS_HOSTS", service.ops_hosts.to_string()),
    ]);
    let mut text = String::new();
    for (name, value) in settings {
        // Writing to a `String` cannot fail.
        let _ = writeln!(text, "{name}={value}");
    }
    text
}

/// Returns the settings `KEEP_*`, which specify how long rows are kept. If a configuration file
/// defines the targets, all these settings except `KEEP_RUNS` are empty, because the file also
/// defines how long rows are kept.
fn retentions(sweep: &Sweep) -> Vec<(&'static str, String)> {
    let keep = |table: &str, column: &str| {
        let of_table = |target: &&Target| target.table.name.as_str() == table;
        let target = sweep.targets.iter().find(of_table)?;
        let reason = target.reasons.iter().find(|reason| reason.column.as_str() == column)?;
        Some(time(reason.keep))
    };
    let built_in = RETENTIONS.into_iter().filter(|_| sweep.only_auth_api);
    built_in
        .chain([("KEEP_RUNS", "reaper_runs", "started_at")])
        .map(|(name, table, column)| (name, keep(table, column).unwrap_or_default()))
        .collect()
}

fn time(time: Duration) -> String {
    humantime::format_duration(time).to_string()
}
