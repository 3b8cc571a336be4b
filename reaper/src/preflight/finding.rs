//! The findings of the preflight checks. Each finding has one of a closed set of codes. Each code
//! has a level, and a line in docs/check.md.

use serde::{Serialize, Serializer};

/// The severity of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// The target is skipped.
    Unsafe,
    /// The target is processed, but an operator should know about the finding.
    Warning,
    /// The finding is informational and does no harm.
    Note,
}

/// The kind of a finding. The names are part of the output format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "kebab-case")]
#[allow(missing_docs, reason = "docs/check.md describes each code and its remedy")]
pub enum Code {
    // The server.
    Pooler,
    Replica,
    ReadOnly,
    OldServer,
    ForeignHistory,
    // The target.
    NoTable,
    Unfit,
    ConditionRefused,
    ForeignCondition,
    Locked,
    NearlyAll,
    UnusualShare,
    Ancient,
    NoIndex,
    InvalidIndex,
    PartialIndex,
    GroupNotIndexed,
    ForeignKeyNotIndexed,
    ChildNotIndexed,
    SelfCascade,
    SequentialScan,
    UnboundedIndexScan,
    Sort,
    OtherIndex,
    PrivilegeMissing,
    RowSecurity,
    DeleteRule,
    ForeignKeyHolds,
    LargeCascade,
    CascadeNotDue,
    DeleteTrigger,
    ForeignTrigger,
    OpenSchema,
    AutovacuumOff,
    VacuumHeldBack,
    ReplicasHidden,
    PlanUnseen,
    SlowCount,
    SmallChunks,
    IndexWithoutKey,
    NoKey,
    Condition,
    Cascade,
    SparePrivilege,
}

impl Code {
    /// Every code, in the order of the documentation.
    pub const ALL: &'static [Self] = <Self as strum::VariantArray>::VARIANTS;

    /// Returns the name of the code in reports and documentation.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// Returns the severity of findings with this code.
    #[must_use]
    pub fn level(self) -> Level {
        match self {
            Self::ForeignKeyHolds
            | Self::LargeCascade
            | Self::CascadeNotDue
            | Self::DeleteTrigger
            | Self::ForeignTrigger
            | Self::OpenSchema
            | Self::AutovacuumOff
            | Self::VacuumHeldBack
            | Self::ReplicasHidden
            | Self::PlanUnseen
            | Self::SlowCount
            | Self::SmallChunks
            | Self::IndexWithoutKey
            | Self::NoKey => Level::Warning,
            Self::Condition | Self::Cascade | Self::SparePrivilege => Level::Note,
            _ => Level::Unsafe,
        }
    }

    /// Returns whether `--force-unsafe` overrides the finding. A finding can be overridden if the
    /// run would work, even if only slowly. It cannot be overridden if the run would fail or could
    /// not acquire its locks.
    #[must_use]
    pub fn may_be_forced(self) -> bool {
        matches!(
            self,
            Self::OldServer
                | Self::ForeignCondition
                | Self::NoIndex
                | Self::InvalidIndex
                | Self::PartialIndex
                | Self::GroupNotIndexed
                | Self::ForeignKeyNotIndexed
                | Self::ChildNotIndexed
                | Self::SequentialScan
                | Self::UnboundedIndexScan
                | Self::Sort
                | Self::OtherIndex
                | Self::PrivilegeMissing
                | Self::RowSecurity
        )
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// A finding. The names and the order of the fields are part of the output format.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The severity.
    pub level: Level,
    /// The kind of the finding.
    pub code: Code,
    /// The description.
    pub what: String,
    /// The statement to run, or another remedy; `None` if `what` includes the remedy or if there is
    /// none.
    pub remedy: Option<String>,
    /// The table from which a cascade deletes rows, although the condition of a target excludes
    /// these rows from deletion; `None` for other findings.
    #[serde(skip)]
    pub cascades_to: Option<String>,
}

impl Finding {
    pub(crate) fn new(code: Code, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            level: code.level(),
            code,
            what: what.into(),
            remedy: Some(remedy.into()),
            cascades_to: None,
        }
    }

    /// Returns a finding that has no remedy, or whose description includes the remedy.
    pub(crate) fn plain(code: Code, what: impl Into<String>) -> Self {
        Self { level: code.level(), code, what: what.into(), remedy: None, cascades_to: None }
    }

    /// Returns whether the finding is unsafe, so that the target is skipped.
    #[must_use]
    pub fn is_unsafe(&self) -> bool {
        self.level == Level::Unsafe
    }
}

/// Writes the description and the remedy on one line.
impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.remedy {
            Some(remedy) => write!(f, "{}: {remedy}", self.what),
            None => f.write_str(&self.what),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_documented_under_its_level() {
        let page = include_str!("../../../docs/check.md");
        let mut level = "";
        let mut found = Vec::new();
        for line in page.lines() {
            level = line.strip_prefix("## ").unwrap_or(level);
            if let Some((code, _)) = line.strip_prefix("| `").and_then(|rest| rest.split_once('`'))
            {
                found.push((code, level));
            }
        }
        let expected: Vec<(&str, &str)> = Code::ALL
            .iter()
            .map(|code| {
                (
                    code.as_str(),
                    match code.level() {
                        Level::Unsafe => "Unsafe",
                        Level::Warning => "Warnings",
                        Level::Note => "Notes",
                    },
                )
            })
            .collect();
        assert_eq!(found, expected);
    }
}
