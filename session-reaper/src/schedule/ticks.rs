//! Determines the time of the next scheduled run. The clock may be changed at any time.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::Schedule;

/// The maximum size of a clock correction. If the clock is set back by no more than this, the
/// scheduled time of the last run is not used a second time, because a second run within a minute
/// is useless. If the clock is set back further, the schedule restarts from the current time.
/// Otherwise, a daemon might wait for hours until the clock reaches the old time again.
const CORRECTION: TimeDelta = TimeDelta::minutes(1);

/// The scheduled runs, each with a random delay.
#[derive(Debug)]
pub struct Ticks<'a> {
    schedule: &'a Schedule,
    jitter: Duration,
    /// While a run is active, its scheduled time or its start, whichever is later. After a run has
    /// ended, the time of its end.
    last: Option<DateTime<Utc>>,
}

/// A scheduled run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tick {
    /// The scheduled time.
    pub time: DateTime<Utc>,
    /// When to run: not before `time`, and before the next scheduled time.
    pub run_at: DateTime<Utc>,
}

impl<'a> Ticks<'a> {
    /// Creates the scheduled runs with a random delay of up to `jitter`, which must be shorter than
    /// the shortest interval of the schedule.
    #[must_use]
    pub fn new(schedule: &'a Schedule, jitter: Duration) -> Self {
        Self { schedule, jitter, last: None }
    }

    /// Returns the first run after `now`; `None` if the schedule has no more times.
    #[must_use]
    pub fn next(&self, now: DateTime<Utc>) -> Option<Tick> {
        let time = self.time_after(now)?;
        let wait = TimeDelta::from_std(self.jitter.mul_f64(random_share())).unwrap_or_default();
        Some(Tick { time, run_at: time + wait })
    }

    /// Returns whether the clock was set back so far that another run comes before `tick`.
    #[must_use]
    pub fn is_overtaken(&self, tick: Tick, now: DateTime<Utc>) -> bool {
        self.time_after(now).is_some_and(|time| time < tick.time)
    }

    /// Records the start of a run. Returns the number of later scheduled times that have passed.
    pub fn begin(&mut self, tick: Tick, now: DateTime<Utc>) -> usize {
        let missed = self.schedule.times_between(tick.time, now);
        self.last = Some(tick.time.max(now));
        missed
    }

    /// Records the end of a run. Returns the number of scheduled times that passed during the run.
    pub fn end(&mut self, now: DateTime<Utc>) -> usize {
        let Some(began) = self.last else { return 0 };
        let skipped = self.schedule.times_between(began, now);
        self.last = Some(began.max(now));
        skipped
    }

    fn time_after(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let corrected = self.last.filter(|last| now < *last && *last - now <= CORRECTION);
        self.schedule.next(corrected.unwrap_or(now))
    }
}

/// Returns a random number from 0 to 1.
fn random_share() -> f64 {
    // If no random number is available, all instances run at the scheduled time, as they do without
    // jitter.
    let random = getrandom::u32().unwrap_or(0);
    f64::from(random) / f64::from(u32::MAX)
}
