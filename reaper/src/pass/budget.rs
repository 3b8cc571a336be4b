//! The limits of one run.

use std::time::{Duration, Instant};

/// The limits of a run. Without a limit, the run continues until no due rows are left.
#[derive(Clone, Copy, Debug, Default)]
pub struct BudgetLimits {
    /// The maximum duration of the run.
    pub runtime: Option<Duration>,
    /// The maximum number of rows that the run may delete.
    pub rows: Option<u64>,
}

/// The limit of the run that was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BudgetLimit {
    Runtime(Duration),
    Rows(u64),
}

impl std::fmt::Display for BudgetLimit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Runtime(bound) => {
                write!(f, "MAX_RUNTIME ({})", humantime::format_duration(*bound))
            }
            Self::Rows(bound) => write!(f, "MAX_ROWS ({bound})"),
        }
    }
}

/// The limits of a run, the start of the run, and the number of rows that the run has deleted.
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    limits: BudgetLimits,
    began: Instant,
    deleted: u64,
}

impl Budget {
    pub(crate) fn new(limits: BudgetLimits, began: Instant) -> Self {
        Self { limits, began, deleted: 0 }
    }

    pub(crate) fn spend(&mut self, rows: u64) {
        self.deleted += rows;
    }

    /// Returns the limit that has been reached, if any.
    pub(crate) fn spent(&self) -> Option<BudgetLimit> {
        let runtime = self
            .limits
            .runtime
            .filter(|bound| self.began.elapsed() >= *bound)
            .map(BudgetLimit::Runtime);
        runtime.or_else(|| {
            self.limits.rows.filter(|bound| self.deleted >= *bound).map(BudgetLimit::Rows)
        })
    }

    /// Returns `size` or the number of rows that may still be deleted, whichever is less.
    pub(crate) fn at_most(&self, size: u32) -> u32 {
        let left = self.limits.rows.map_or(u64::MAX, |bound| bound.saturating_sub(self.deleted));
        size.min(u32::try_from(left).unwrap_or(u32::MAX)).max(1)
    }
}
