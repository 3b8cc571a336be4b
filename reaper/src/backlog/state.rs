//! How reliable the count of a backlog is.

use serde::{Deserialize, Serialize};

/// How reliable the number of due rows is.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    Serialize,
    Deserialize,
    strum::IntoStaticStr,
    strum::VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum BacklogState {
    /// Exactly this many rows are due.
    #[default]
    Exact,
    /// At least this many rows are due: the count stopped at its limit, or it began where earlier
    /// runs had left no due row, so that rows inserted before that point were not counted.
    AtLeast,
    /// The number is unknown: the rows were not counted, the count failed, or it stopped at its
    /// limit before it found a row that may be deleted.
    Unknown,
}

impl BacklogState {
    /// All states.
    pub const ALL: &'static [Self] = <Self as strum::VariantArray>::VARIANTS;

    /// Returns the value in reports and of the metric label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// Returns whether exactly the counted rows are due.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        *self == Self::Exact
    }
}
