//! Computes when runs are expected to succeed. This follows from the schedules that the daemons
//! have registered, or from the interval that the user specifies.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::registration::{OVERDUE, Registration};
use crate::schedule::Schedule;

/// The schedules or the interval from which follows when runs are expected to succeed. Without
/// either, no run is expected.
#[derive(Clone, Debug, Default)]
pub struct Rhythm {
    /// The schedules of the daemons, each with the longest random delay of a run.
    schedules: Vec<(Schedule, TimeDelta)>,
    /// The longest expected time between two successful runs. It replaces the schedules.
    interval: Option<TimeDelta>,
    /// The usual duration of a successful run.
    usual: TimeDelta,
}

impl Rhythm {
    /// Creates the expected times from one schedule.
    #[must_use]
    pub fn of(schedule: &Schedule, jitter: Duration) -> Self {
        let schedules = vec![(schedule.clone(), delta(jitter))];
        Self { schedules, ..Self::default() }
    }

    /// Creates the expected times from the schedules of daemons. `usual` is the usual duration of
    /// their runs. A schedule that this version cannot parse is ignored.
    pub(super) fn registered<'a>(
        registrations: impl Iterator<Item = &'a Registration>,
        usual: TimeDelta,
    ) -> Self {
        let schedule = |registration: &Registration| {
            let zone = registration.timezone.parse().ok()?;
            let schedule = Schedule::new(&registration.schedule, zone).ok()?;
            Some((schedule, delta(Duration::from_millis(registration.jitter_ms))))
        };
        Self { schedules: registrations.filter_map(schedule).collect(), interval: None, usual }
    }

    /// Adds the schedules of `other`.
    pub(crate) fn join(&mut self, other: &Self) {
        self.schedules.extend(other.schedules.iter().cloned());
    }

    /// Replaces the schedules with a fixed interval.
    pub(crate) fn replace_with(&mut self, interval: Duration) {
        self.interval = Some(delta(interval));
    }

    /// Returns whether any run is expected.
    pub(super) fn is_known(&self) -> bool {
        self.interval.is_some() || !self.schedules.is_empty()
    }

    /// Returns when the first run that is expected after `from` should have ended: the scheduled
    /// time, plus the longest random delay, the usual duration of a run, and [`OVERDUE`]. Returns
    /// `None` if no run is expected.
    pub(super) fn expected_by(&self, from: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let scheduled = |(schedule, jitter): &(Schedule, TimeDelta)| {
            schedule.next(from)?.checked_add_signed(*jitter)
        };
        let begins = if let Some(interval) = self.interval {
            from.checked_add_signed(interval)
        } else {
            self.schedules.iter().filter_map(scheduled).min()
        };
        begins?.checked_add_signed(self.usual)?.checked_add_signed(OVERDUE)
    }
}

fn delta(duration: Duration) -> TimeDelta {
    TimeDelta::from_std(duration).unwrap_or(TimeDelta::MAX)
}
