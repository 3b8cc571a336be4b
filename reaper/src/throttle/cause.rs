//! The causes for which a run waits.

/// The cause for which a run waits: the closed set of values of the metrics' label `cause`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum ThrottleCause {
    /// The idle time after each chunk (the transaction that deletes rows), from the duty cycle.
    DutyCycle,
    /// A replica lags.
    ReplicaLag,
    /// The server is busy.
    Busy,
    /// A vacuum is running on the table that is being processed.
    Vacuum,
    /// The user's own query returned a reason to wait.
    Query,
    /// A pause is set.
    Pause,
}

impl ThrottleCause {
    /// All causes, for metrics that are created at startup.
    pub const ALL: &'static [Self] = <Self as strum::VariantArray>::VARIANTS;

    /// Returns the name in labels, reports and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// Returns whether the cause affects only one target, so that other targets can be processed in
    /// the meantime.
    pub(crate) fn is_of_one_target(self) -> bool {
        self == Self::Vacuum
    }
}
