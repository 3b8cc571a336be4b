//! Schedules in the format of crontab(5), in a time zone with daylight saving time.
//!
//! As in Vixie cron and its descendants, there are two kinds of schedules. If the seconds, minutes
//! or hours field of a schedule begins with `*`, the schedule is an *interval*: it matches whenever
//! local time matches, even if a clock change repeats that time. Any other schedule has *fixed
//! times*: each of these times matches once a day. If a clock change skips a fixed time, it matches
//! immediately after the change; if a clock change repeats it, the first occurrence matches.

mod fields;
mod gaps;
#[cfg(test)]
mod tests;
mod ticks;
mod wall;

use chrono::{
    DateTime, MappedLocalTime, NaiveDateTime, Offset as _, TimeDelta, TimeZone as _, Timelike as _,
    Utc,
};
use chrono_tz::{GapInfo, Tz};

use fields::Fields;
pub use gaps::Gaps;
pub use ticks::{Tick, Ticks};
use wall::WallClock;

/// A schedule. It matches at least one time.
#[derive(Clone, Debug)]
pub struct Schedule {
    /// The text of the schedule.
    given: String,
    wall: WallClock,
    zone: Tz,
    /// Whether the schedule is an interval; see the module documentation.
    interval: bool,
}

/// The maximum number of scheduled times that are counted. There may be many more: a laptop may be
/// suspended for weeks, and a schedule may match every second.
const COUNTED: usize = 10_000;

impl Schedule {
    /// Parses five crontab(5) fields, six with a leading seconds field, or a nickname such as
    /// `@hourly`.
    ///
    /// Returns an error message for invalid text and for a schedule that never matches, such as
    /// February 31.
    pub fn new(cron: &str, zone: Tz) -> Result<Self, String> {
        let fields = Fields::read(cron)?;
        let wall = WallClock::new(&fields).map_err(|error| error.to_string())?;
        let given = cron.trim().to_owned();
        let schedule = Self { given, wall, zone, interval: fields.interval };
        match schedule.next(crate::clock::now()) {
            Some(_) => Ok(schedule),
            None => Err("that time never comes".to_owned()),
        }
    }

    /// Returns the text of the schedule and its time zone.
    #[must_use]
    pub fn written(&self) -> (String, &'static str) {
        (self.given.clone(), self.zone.name())
    }

    /// Returns the first scheduled time after `from`.
    #[must_use]
    pub fn next(&self, from: DateTime<Utc>) -> Option<DateTime<Utc>> {
        if self.interval { self.next_of_interval(from) } else { self.next_fixed(from) }
    }

    fn next_fixed(&self, from: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let mut wall = from.with_timezone(&self.zone).naive_local();
        loop {
            wall = self.wall.next(wall)?;
            let time = self.first_at(wall)?;
            if time > from {
                return Some(time);
            }
        }
    }

    fn next_of_interval(&self, from: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let mut from = from;
        loop {
            // The local clock does not change before the next clock change.
            let offset = self.offset(from);
            let next = self.wall.next(from.naive_utc() + offset)?.and_utc() - offset;
            let Some(change) = self.clock_change(from, next) else { return Some(next) };
            let at_the_change = change.naive_utc() + self.offset(change);
            // The schedule may match at the time of the clock change.
            let before = at_the_change - TimeDelta::seconds(1);
            if self.wall.next(before)? == at_the_change {
                return Some(change);
            }
            from = change;
        }
    }

    /// Returns the time of the first clock change after `from`, up to and including `to`.
    fn clock_change(&self, from: DateTime<Utc>, to: DateTime<Utc>) -> Option<DateTime<Utc>> {
        /// The step of the search. Two clock changes are always further apart than this.
        const STEP: TimeDelta = TimeDelta::hours(12);
        let offset = self.offset(from);
        let mut same = from;
        while same < to {
            let mut changed = to.min(same + STEP);
            if self.offset(changed) == offset {
                same = changed;
                continue;
            }
            // Clock changes are at whole seconds.
            while changed - same > TimeDelta::seconds(1) {
                let middle = same + TimeDelta::seconds((changed - same).num_seconds() / 2);
                if self.offset(middle) == offset {
                    same = middle;
                } else {
                    changed = middle;
                }
            }
            return Some(changed.with_nanosecond(0).unwrap_or(changed));
        }
        None
    }

    /// Returns the offset of the zone from UTC.
    fn offset(&self, time: DateTime<Utc>) -> TimeDelta {
        let offset = self.zone.offset_from_utc_datetime(&time.naive_utc()).fix();
        TimeDelta::seconds(offset.local_minus_utc().into())
    }

    /// Returns the first instant at which clocks show the local time `wall`. If a clock change
    /// skips that time, returns the instant of the change.
    fn first_at(&self, wall: NaiveDateTime) -> Option<DateTime<Utc>> {
        let time = match self.zone.from_local_datetime(&wall) {
            MappedLocalTime::Single(time) | MappedLocalTime::Ambiguous(time, _) => time,
            MappedLocalTime::None => GapInfo::new(&wall, &self.zone)?.end?,
        };
        Some(time.with_timezone(&Utc))
    }

    /// Returns the number of scheduled times after `from`, up to and including `to`; at most
    /// 10,000.
    #[must_use]
    pub fn times_between(&self, from: DateTime<Utc>, to: DateTime<Utc>) -> usize {
        self.times_after(from).take_while(|time| *time <= to).take(COUNTED).count()
    }

    fn times_after(&self, from: DateTime<Utc>) -> impl Iterator<Item = DateTime<Utc>> {
        std::iter::successors(self.next(from), |time| self.next(*time))
    }
}
