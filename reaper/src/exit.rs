//! The exit codes of session-reaper, on which service managers and scripts rely. In addition, the
//! command-line parser, clap, exits with 2 on usage errors.

use std::process::ExitCode;

use crate::stop::Signal;
use crate::stop_reason::StopReason;
use crate::store::runs::Outcome;

/// The meaning of an exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// The run completed, or another reaper holds the lock of a target.
    Done,
    /// The command failed.
    Failed,
    /// At least one target failed, or was skipped because it is unsafe. At least one other target
    /// was processed.
    Partly,
    /// Nothing could be processed, because the server is unsafe or all targets are unsafe.
    Unsafe,
    /// The database is unreachable.
    Unreachable,
    /// Due rows may be left, because a limit of the run was reached, or because the run had to wait
    /// for too long.
    Unfinished,
    /// The configuration is invalid, or there is no configuration for this database.
    Misconfigured,
    /// A signal stopped the run.
    Stopped(Signal),
}

impl Exit {
    /// Returns the numeric exit code.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Partly => 3,
            // EX_DATAERR, EX_UNAVAILABLE, EX_TEMPFAIL and EX_CONFIG in sysexits.h.
            Self::Unsafe => 65,
            Self::Unreachable => 69,
            Self::Unfinished => 75,
            Self::Misconfigured => 78,
            Self::Stopped(signal) => signal.exit_code(),
        }
    }
}

/// What a target contributes to the exit code of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TargetExit {
    /// Everything that could be deleted was deleted.
    Done,
    /// A limit of the run was reached, or the run had to wait for too long. Due rows may be left.
    Unfinished,
    /// Another reaper holds the lock of the target.
    Locked,
    /// The target failed.
    Failed,
    /// A preflight check or a guard rejected the target.
    Unsafe,
}

impl TargetExit {
    /// Returns the contribution of a target that ended with `outcome`. `rejected` is `true` if a
    /// preflight check or a guard rejected the target.
    pub(crate) fn new(outcome: Outcome, rejected: bool) -> Self {
        match outcome {
            Outcome::Success => Self::Done,
            Outcome::Partial | Outcome::Paused | Outcome::Interrupted => Self::Unfinished,
            Outcome::SkippedLock => Self::Locked,
            Outcome::Failed if rejected => Self::Unsafe,
            Outcome::Failed => Self::Failed,
        }
    }
}

impl Exit {
    /// Returns the exit code of a run that was not abandoned. The first rule that applies
    /// determines the code.
    pub(crate) fn of(targets: &[TargetExit]) -> Self {
        let some = |wanted: TargetExit| targets.contains(&wanted);
        let worked = some(TargetExit::Done) || some(TargetExit::Unfinished);
        match (some(TargetExit::Failed), some(TargetExit::Unsafe)) {
            (true, _) | (_, true) if worked => Self::Partly,
            (true, _) => Self::Failed,
            (false, true) => Self::Unsafe,
            (false, false) if some(TargetExit::Unfinished) => Self::Unfinished,
            (false, false) => Self::Done,
        }
    }
}

/// The exit code of a run that could not continue for this reason.
impl From<&StopReason> for Exit {
    fn from(reason: &StopReason) -> Self {
        match reason {
            StopReason::Pooler | StopReason::Unsafe(_) | StopReason::Held(_) => Self::Unsafe,
            _ => Self::Failed,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::TargetExit::{Done, Failed, Locked, Unfinished, Unsafe};
    use super::*;

    #[test]
    fn first_rule_that_applies_determines_the_exit_code() {
        let cases: [(&[TargetExit], u8); 14] = [
            (&[], 0),
            (&[Done, Done], 0),
            (&[Locked, Locked], 0),
            (&[Done, Locked], 0),
            (&[Unsafe, Unsafe], 65),
            (&[Unsafe, Locked], 65),
            (&[Failed, Failed], 1),
            (&[Failed, Unsafe], 1),
            (&[Failed, Done], 3),
            (&[Unsafe, Done], 3),
            (&[Unsafe, Unfinished], 3),
            (&[Failed, Unfinished, Locked], 3),
            (&[Unfinished, Done], 75),
            (&[Unfinished, Locked], 75),
        ];
        for (targets, code) in cases {
            assert_eq!(Exit::of(targets).code(), code, "{targets:?}");
        }
    }
}
