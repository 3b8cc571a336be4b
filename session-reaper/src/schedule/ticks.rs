//! Which time of the schedule is next, by a clock that may be set.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::Schedule;

/// A clock that is set back by less does not bring back the time that has just been: corrections
/// are of this order, and a run twice in a minute helps nobody. Set back by more, the schedule is
/// begun anew where the clock now is: else a daemon would wait for hours until the clock has come
/// to where it was.
const CORRECTION: TimeDelta = TimeDelta::minutes(1);

/// The times of a schedule as they are come to, each put off by a random while.
#[derive(Debug)]
pub struct Ticks<'a> {
    schedule: &'a Schedule,
    jitter: Duration,
    /// The time that was run last.
    last: Option<DateTime<Utc>>,
}

/// A time of the schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tick {
    /// By the schedule.
    pub time: DateTime<Utc>,
    /// When to run: not before `time`, and before the one after it.
    pub run_at: DateTime<Utc>,
}

impl<'a> Ticks<'a> {
    /// With a wait of up to `jitter` before each run, which is shorter than the schedule's shortest
    /// gap.
    #[must_use]
    pub fn new(schedule: &'a Schedule, jitter: Duration) -> Self {
        Self { schedule, jitter, last: None }
    }

    /// The one to wait for when the clock shows `now`; `None` when there is none any more.
    #[must_use]
    pub fn next(&self, now: DateTime<Utc>) -> Option<Tick> {
        let time = self.time_after(now)?;
        let wait = TimeDelta::from_std(self.jitter.mul_f64(random_share())).unwrap_or_default();
        Some(Tick { time, run_at: time + wait })
    }

    /// Whether the clock was set back so far that another time comes before this one.
    #[must_use]
    pub fn is_overtaken(&self, tick: Tick, now: DateTime<Utc>) -> bool {
        self.time_after(now).is_some_and(|time| time < tick.time)
    }

    /// Notes that it is run, and says how many times after it have come and gone already at `now`.
    pub fn begin(&mut self, tick: Tick, now: DateTime<Utc>) -> usize {
        let missed = self.schedule.times_between(tick.time, now);
        self.last = Some(tick.time.max(now));
        missed
    }

    /// Notes that the run has ended at `now`, and says how many times came while it was going.
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

/// From 0 up to 1.
fn random_share() -> f64 {
    // Without randomness all instances run at the very time, which is what they do without jitter.
    let random = getrandom::u32().unwrap_or(0);
    f64::from(random) / f64::from(u32::MAX)
}
