//! The closed sets of label values.

/// The `reason` of rows that were deleted because they referenced a due row.
pub(crate) const CHILDREN: &str = "children";

/// The outcome of an attempt at a chunk.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ChunkOutcome {
    Done,
    TimedOut,
    Retried,
    Failed,
}

impl ChunkOutcome {
    pub(super) const ALL: [Self; 4] = [Self::Done, Self::TimedOut, Self::Retried, Self::Failed];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::TimedOut => "timeout",
            Self::Retried => "retried",
            Self::Failed => "failed",
        }
    }
}

/// The result of an attempt to acquire the lock of a target.
#[derive(Clone, Copy, Debug)]
pub(crate) enum LockAttempt {
    Acquired,
    Busy,
    Error,
}

impl LockAttempt {
    pub(super) const ALL: [Self; 3] = [Self::Acquired, Self::Busy, Self::Error];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Acquired => "acquired",
            Self::Busy => "busy",
            Self::Error => "error",
        }
    }
}

/// A destination of exported metrics or spans.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Exporter {
    Textfile,
    Pushgateway,
    Otlp,
}

impl Exporter {
    pub(super) const ALL: [Self; 3] = [Self::Textfile, Self::Pushgateway, Self::Otlp];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Textfile => "textfile",
            Self::Pushgateway => "pushgateway",
            Self::Otlp => "otlp",
        }
    }
}
