//! The closed sets of labels.

/// The `reason` of rows that went because they referred to a due one.
pub(crate) const CHILDREN: &str = "children";

/// What became of a try at a chunk.
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

/// What became of a try for a target's lock.
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

/// Where numbers or spans go that nobody fetches.
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
