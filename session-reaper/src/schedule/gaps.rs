//! Computes the intervals between the times of a schedule.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::Schedule;

/// How far ahead to examine the schedule. Later times repeat the pattern and are slow to find.
const HORIZON: TimeDelta = TimeDelta::days(370);

/// The maximum number of scheduled times that are examined one by one on a day with a clock change:
/// one per minute. For more frequent schedules, clock changes are ignored.
const WALKED: usize = 1_440;

/// Intervals between consecutive times of a schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gaps {
    /// The shortest interval.
    pub shortest: Duration,
    /// The longest interval.
    pub longest: Duration,
}

impl Gaps {
    fn note(&mut self, gap: TimeDelta) {
        if let Ok(gap) = gap.to_std() {
            self.shortest = self.shortest.min(gap);
            self.longest = self.longest.max(gap);
        }
    }
}

impl Schedule {
    /// Returns the shortest and the longest gap in the year after `from`. If the first gap is
    /// longer than a year, returns only that gap.
    ///
    /// The times of day are the same on every day on which the schedule matches, so the gaps within
    /// a day are examined only once. In addition, only the gaps between days and the days with
    /// clock changes are examined. This takes a few hundred steps, even for a schedule that matches
    /// every second.
    #[must_use]
    pub fn gaps(&self, from: DateTime<Utc>) -> Gaps {
        let day = self.wall.times_of_day();
        let within = day.windows(2).map(|pair| pair[1] - pair[0]);
        let of_a_day = [within.clone().min(), within.max()];
        let mut gaps = Gaps { shortest: Duration::MAX, longest: Duration::ZERO };
        let mut next = self.next(from);
        while let Some(mut time) = next {
            let wall = time.with_timezone(&self.zone).naive_local();
            let last = day
                .last()
                .and_then(|last| self.first_at(wall.date().and_time(*last)))
                .unwrap_or(time)
                .max(time);
            let made_up = day.binary_search(&wall.time()).is_err();
            if (self.offset(time) == self.offset(last) && !made_up) || day.len() > WALKED {
                of_a_day.into_iter().flatten().for_each(|gap| gaps.note(gap));
                time = last;
            }
            while time < last {
                let Some(later) = self.next(time) else { return gaps };
                gaps.note(later - time);
                time = later;
            }
            next = self.next(time);
            if let Some(next) = next {
                gaps.note(next - time);
                if next > from + HORIZON {
                    break;
                }
            }
        }
        gaps
    }
}
