//! The tracing spans of a run: `run`, `target` and `chunk` (one transaction that deletes rows).
//! There is no span per row. If no subscriber collects spans, they cost only a few nanoseconds per
//! chunk.

use crate::store::runs::{Outcome, Trigger};
use tracing::Span;
use tracing::field::{Empty, display};

use crate::connection::db_error::DbError;
use crate::error::SweepError;
use crate::report::run_report::RunReport;
use crate::stop_reason::StopReason;

/// The tracing target of all spans. It distinguishes the spans from log events.
pub const SPANS: &str = "session_reaper::spans";

/// Creates the span of a run. The span begins before the connection is opened and ends after the
/// report.
pub(crate) fn run(trigger: Trigger, instance: &str) -> Span {
    tracing::info_span!(
        target: SPANS,
        "run",
        trigger = trigger.as_str(),
        instance,
        run_id = Empty,
        outcome = Empty,
        why = Empty,
        rows = Empty,
        otel.status_code = Empty
    )
}

pub(crate) fn run_ended(span: &Span, ended: Result<&RunReport, &SweepError>) {
    if span.is_disabled() {
        return;
    }
    match ended {
        Ok(report) => {
            span.record("run_id", display(report.run_id)).record("rows", report.deleted_rows());
            let failed = report.outcome == Outcome::Failed;
            record(span, report.outcome.as_str(), Some(&report.why), failed);
        }
        Err(error) => conclude(span, Outcome::Failed, Some(&error.to_string())),
    }
}

/// Creates the span of the work on a target.
pub(crate) fn target(target: &str) -> Span {
    tracing::info_span!(
        target: SPANS,
        "target",
        target,
        outcome = Empty,
        why = Empty,
        rows = Empty,
        otel.status_code = Empty
    )
}

pub(crate) fn target_ended(span: &Span, ended: &Result<(), StopReason>, rows: u64) {
    if span.is_disabled() {
        return;
    }
    span.record("rows", rows);
    match ended {
        Ok(()) => conclude(span, Outcome::Success, None),
        Err(reason) => conclude(span, reason.outcome(), Some(&reason.to_string())),
    }
}

/// Creates the span of one attempt to delete a chunk.
pub(crate) fn chunk(target: &str, reason: &str) -> Span {
    tracing::info_span!(
        target: SPANS,
        "chunk",
        target,
        reason,
        rows = Empty,
        outcome = Empty,
        why = Empty,
        otel.status_code = Empty
    )
}

pub(crate) fn chunk_ended(span: &Span, error: Option<&DbError>, rows: u64) {
    if span.is_disabled() {
        return;
    }
    span.record("rows", rows);
    let outcome = match error {
        None => "done",
        Some(DbError::Timeout(_)) => "timeout",
        Some(_) => "failed",
    };
    record(span, outcome, error.map(ToString::to_string).as_deref(), error.is_some());
}

fn conclude(span: &Span, outcome: Outcome, why: Option<&str>) {
    record(span, outcome.as_str(), why, outcome == Outcome::Failed);
}

fn record(span: &Span, outcome: &str, why: Option<&str>, failed: bool) {
    span.record("outcome", outcome);
    if let Some(why) = why {
        span.record("why", why);
    }
    if failed {
        span.record("otel.status_code", "ERROR");
    }
}
