//! When to run: crontab(5) in a time zone, also when its clocks change.
//!
//! As Vixie cron and its descendants have it, there are two kinds of schedules. One whose seconds,
//! minutes or hours begin with `*` is an *interval*: it goes on in real time, and comes whenever
//! the clock on the wall shows one of its times. Any other has *fixed times*: each comes once a
//! day, those that clocks skip as soon as they have, and those that clocks show twice the first
//! time.

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
    /// As it was given.
    given: String,
    cron: Cron,
    zone: Tz,
    /// Of the two kinds, this one.
    interval: bool,
}

/// Times that are counted before it is said that there were so many at the least: a laptop may
/// sleep for weeks, and a schedule may come every second.
const COUNTED: usize = 10_000;

impl Schedule {
    /// Reads five fields as crontab(5) has them, six with seconds before them, or `@hourly` and the
    /// like.
    ///
    /// Says what is wrong with others, and with a schedule that never comes, such as the 31st of
    /// February.
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

    /// As it was given, and its time zone.
    #[must_use]
    pub fn written(&self) -> (String, &'static str) {
        (self.given.clone(), self.zone.name())
    }

    /// The first time after `from`.
    #[must_use]
    pub fn next(&self, from: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let local = from.with_timezone(&self.zone);
        if self.interval {
            let next = self.cron.find_next_occurrence(&local, false).ok()?;
            return Some(next.with_timezone(&Utc));
        }
        // croner takes only those with one single time for fixed, and loses some that fall into a
        // gap across midnight.
        let mut wall = local.naive_local();
        loop {
            wall = self.next_on_the_wall(wall)?;
            let time = self.first_at(wall)?;
            if time > from {
                return Some(time);
            }
        }
    }

    /// The first time after `wall` on a clock that never changes.
    fn next_on_the_wall(&self, wall: NaiveDateTime) -> Option<NaiveDateTime> {
        Some(self.cron.find_next_occurrence(&wall.and_utc(), false).ok()?.naive_utc())
    }

    /// When the clock on the wall shows this for the first time; where it never does, when it has
    /// gone past it.
    fn first_at(&self, wall: NaiveDateTime) -> Option<DateTime<Utc>> {
        let time = match self.zone.from_local_datetime(&wall) {
            MappedLocalTime::Single(time) | MappedLocalTime::Ambiguous(time, _) => time,
            MappedLocalTime::None => GapInfo::new(&wall, &self.zone)?.end?,
        };
        Some(time.with_timezone(&Utc))
    }

    /// How many times it comes after `from`, up to and with `to`; beyond some thousands they are
    /// not counted any more.
    #[must_use]
    pub fn times_between(&self, from: DateTime<Utc>, to: DateTime<Utc>) -> usize {
        self.times_after(from).take_while(|time| *time <= to).take(COUNTED).count()
    }

    fn times_after(&self, from: DateTime<Utc>) -> impl Iterator<Item = DateTime<Utc>> {
        std::iter::successors(self.next(from), |time| self.next(*time))
    }
}
