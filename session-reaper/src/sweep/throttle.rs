//! What a run makes way for.

/// What it waits for: the closed set of the metrics' label `cause`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// The share of time that is left to others.
    DutyCycle,
    /// A replica that is behind.
    ReplicaLag,
    /// A server with much to do.
    Busy,
    /// A vacuum of the table that is being worked on.
    Vacuum,
    /// A query of the user's.
    Query,
    /// Somebody's word.
    Pause,
}

impl Cause {
    /// All of them, for metrics that are created at start.
    pub const ALL: [Self; 6] = [Self::DutyCycle, Self::ReplicaLag, Self::Busy, Self::Vacuum, Self::Query, Self::Pause];

    /// As it stands in labels, reports and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::DutyCycle => "duty_cycle",
            Self::ReplicaLag => "replica_lag",
            Self::Busy => "busy",
            Self::Vacuum => "vacuum",
            Self::Query => "query",
            Self::Pause => "pause",
        }
    }
}
