//! The spans of a run, for a tracing collector: `run`, `target`, `chunk`. Nothing is done a row,
//! and where nobody collects them each is a disabled callsite: some nanoseconds a chunk.

use schema::runs::Trigger;
use tracing::Span;
use tracing::field::{Empty, display};

use super::connection::DbError;
use super::error::SweepError;
use super::pass::{Chunk, Halt};
use super::run::Finished;
use crate::telemetry::SPANS;

/// A run, from its connection to its report.
pub(super) fn run(trigger: Trigger, instance: &str) -> Span {
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

pub(super) fn run_ended(span: &Span, ended: &Result<Finished, SweepError>) {
    if span.is_disabled() {
        return;
    }
    match ended {
        Ok(Finished { report, .. }) => {
            span.record("run_id", display(report.run_id)).record("rows", report.deleted_rows());
            let outcome = report.outcome.as_str();
            conclude(span, outcome, Some(&report.why), outcome == "failed");
        }
        Err(error) => conclude(span, "failed", Some(&error.to_string()), true),
    }
}

/// The work on a target.
pub(super) fn target(target: &str) -> Span {
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

pub(super) fn target_ended(span: &Span, ended: &Result<(), Halt>, rows: u64) {
    if span.is_disabled() {
        return;
    }
    span.record("rows", rows);
    match ended {
        Ok(()) => conclude(span, "success", None, false),
        Err(Halt::Stopped(signal)) => {
            conclude(span, "interrupted", Some(&format!("stopped by {signal}")), false);
        }
        Err(Halt::Spent(spent)) => {
            conclude(span, "partial", Some(&format!("{spent} is used up")), false);
        }
        Err(Halt::Throttled(throttle_reason, _)) => {
            conclude(span, "partial", Some(&throttle_reason.to_string()), false);
        }
        Err(Halt::Failed(why) | Halt::Gone(why) | Halt::Lost(why)) => {
            conclude(span, "failed", Some(why), true);
        }
        Err(Halt::Pooler) => conclude(span, "failed", Some(super::run::POOLER), true),
    }
}

/// One try at one chunk.
pub(super) fn chunk(target: &str, reason: &str) -> Span {
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

pub(super) fn chunk_ended(span: &Span, ended: &Result<Chunk, DbError>, rows: u64) {
    if span.is_disabled() {
        return;
    }
    span.record("rows", rows);
    match ended {
        Ok(_) => conclude(span, "done", None, false),
        Err(DbError::Timeout(bound)) => {
            conclude(span, "timeout", Some(&format!("{bound} reached")), true);
        }
        Err(
            DbError::Conflict(why) | DbError::Lost(why) | DbError::Gone(why) | DbError::Other(why),
        ) => {
            conclude(span, "failed", Some(why), true);
        }
        Err(trouble @ DbError::Changed(_)) => {
            conclude(span, "failed", Some(&trouble.to_string()), true);
        }
        Err(DbError::Pooler) => conclude(span, "failed", Some(super::run::POOLER), true),
    }
}

fn conclude(span: &Span, outcome: &str, why: Option<&str>, failed: bool) {
    span.record("outcome", outcome);
    if let Some(why) = why {
        span.record("why", why);
    }
    if failed {
        span.record("otel.status_code", "ERROR");
    }
}
