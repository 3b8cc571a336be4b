//! Schedules in the format of crontab(5), in a time zone with daylight saving time.
//!
//! As in Vixie cron and its descendants, there are two kinds of schedules. A schedule whose
//! seconds, minutes or hours field begins with `*` is an *interval*: it follows real time and
//! matches whenever local time matches. Any other schedule has *fixed times*: each matches once a
//! day. If a clock change skips a fixed time, it matches immediately after the change; if a clock
//! change repeats it, the first occurrence matches.

mod fields;
mod gaps;
#[cfg(test)]
mod tests;
mod ticks;

use chrono::{DateTime, MappedLocalTime, NaiveDateTime, TimeZone as _, Utc};
use chrono_tz::{GapInfo, Tz};
use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};

use fields::Fields;
pub use gaps::Gaps;
pub use ticks::{Tick, Ticks};

/// A schedule that has a next time.
#[derive(Clone, Debug)]
pub struct Schedule {
    /// The text of the schedule.
    given: String,
    cron: Cron,
    zone: Tz,
    /// Whether it is an interval, see the module documentation.
    interval: bool,
}

/// Maximum number of times to count: a laptop may be suspended for weeks, and a schedule may match
/// every second.
const COUNTED: usize = 10_000;

impl Schedule {
    /// Parses five crontab(5) fields, six with a leading seconds field, or a nickname such as
    /// `@hourly`.
    ///
    /// Returns an error message for invalid text and for a schedule that never matches, such as
    /// February 31.
    pub fn new(cron: &str, zone: Tz) -> Result<Self, String> {
        let Fields { pattern, interval, both_days } = Fields::read(cron)?;
        let parser = CronParser::builder()
            .seconds(Seconds::Required)
            .year(Year::Disallowed)
            .dom_and_dow(both_days)
            .build();
        let given = cron.trim().to_owned();
        let cron = parser.parse(&pattern).map_err(|error| error.to_string())?;
        let schedule = Self { given, cron, zone, interval };
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

    /// Returns the first time after `from`.
    #[must_use]
    pub fn next(&self, from: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let local = from.with_timezone(&self.zone);
        if self.interval {
            let next = self.cron.find_next_occurrence(&local, false).ok()?;
            return Some(next.with_timezone(&Utc));
        }
        // croner treats only schedules with a single time of day as fixed, and misses some times
        // that fall into a gap across midnight.
        let mut wall = local.naive_local();
        loop {
            wall = self.next_on_the_wall(wall)?;
            let time = self.first_at(wall)?;
            if time > from {
                return Some(time);
            }
        }
    }

    /// Returns the first local time after `wall`, ignoring clock changes.
    fn next_on_the_wall(&self, wall: NaiveDateTime) -> Option<NaiveDateTime> {
        Some(self.cron.find_next_occurrence(&wall.and_utc(), false).ok()?.naive_utc())
    }

    /// Returns when the local time `wall` first occurs, or the time of the clock change that skips
    /// it.
    fn first_at(&self, wall: NaiveDateTime) -> Option<DateTime<Utc>> {
        let time = match self.zone.from_local_datetime(&wall) {
            MappedLocalTime::Single(time) | MappedLocalTime::Ambiguous(time, _) => time,
            MappedLocalTime::None => GapInfo::new(&wall, &self.zone)?.end?,
        };
        Some(time.with_timezone(&Utc))
    }

    /// Returns the number of times after `from`, up to and including `to`; at most 10,000.
    #[must_use]
    pub fn times_between(&self, from: DateTime<Utc>, to: DateTime<Utc>) -> usize {
        self.times_after(from).take_while(|time| *time <= to).take(COUNTED).count()
    }

    fn times_after(&self, from: DateTime<Utc>) -> impl Iterator<Item = DateTime<Utc>> {
        std::iter::successors(self.next(from), |time| self.next(*time))
    }
}
