//! When to run: crontab(5) in a time zone.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};

/// A schedule that has a next time.
#[derive(Clone, Debug)]
pub struct Schedule {
    cron: Cron,
    zone: Tz,
}

/// Gaps that are looked at for the longest one: a day of runs every five minutes, ten days of hourly ones.
const GAPS: usize = 300;

/// How far ahead they are looked for: beyond it a schedule does not change any more, and its times are slow to find.
const HORIZON: TimeDelta = TimeDelta::days(370);

impl Schedule {
    /// Reads five fields as crontab(5) has them, six with seconds before them, or `@hourly` and the like.
    ///
    /// Says what is wrong with others, and with a schedule that never comes, such as the 31st of February.
    pub fn new(cron: &str, zone: Tz) -> Result<Self, String> {
        let parser = CronParser::builder().seconds(Seconds::Optional).year(Year::Disallowed).build();
        let cron = parser.parse(cron).map_err(|error| error.to_string())?;
        let schedule = Self { cron, zone };
        match schedule.next(crate::clock::now()) {
            Some(_) => Ok(schedule),
            None => Err("that time never comes".to_owned()),
        }
    }

    /// As it was given, and its time zone.
    #[must_use]
    pub fn written(&self) -> (String, &'static str) {
        (self.cron.to_string(), self.zone.name())
    }

    /// The first time after `from`.
    #[must_use]
    pub fn next(&self, from: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let next = self.cron.find_next_occurrence(&from.with_timezone(&self.zone), false).ok()?;
        Some(next.with_timezone(&Utc))
    }

    /// How many times it comes after `from`, up to and with `to`.
    #[must_use]
    pub fn times_between(&self, from: DateTime<Utc>, to: DateTime<Utc>) -> usize {
        self.times_after(from).take_while(|time| *time <= to).count()
    }

    /// The longest time between two runs, as far as can be seen from `from`.
    #[must_use]
    pub fn longest_gap(&self, from: DateTime<Utc>) -> Duration {
        let mut times: Vec<DateTime<Utc>> = self.times_after(from).take(2).collect();
        let later = times.last().copied().into_iter().flat_map(|time| self.times_after(time));
        times.extend(later.take_while(|time| *time <= from + HORIZON).take(GAPS));
        let gaps = times.windows(2).filter_map(|pair| (pair[1] - pair[0]).to_std().ok());
        gaps.max().unwrap_or_default()
    }

    fn times_after(&self, from: DateTime<Utc>) -> impl Iterator<Item = DateTime<Utc>> {
        std::iter::successors(self.next(from), |time| self.next(*time))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(cron: &str, zone: &str, from: &str, count: usize) -> Vec<String> {
        let schedule = Schedule::new(cron, zone.parse().unwrap()).unwrap();
        let from: DateTime<Utc> = from.parse().unwrap();
        schedule.times_after(from).take(count).map(|time| time.to_rfc3339()).collect()
    }

    #[test]
    fn five_fields_are_read_as_crontab_has_them() {
        // 7 is Sunday as 0 is; the 13th or a Friday.
        assert_eq!(times("0 0 * * 7", "UTC", "2026-11-21T00:00:00Z", 1), ["2026-11-22T00:00:00+00:00"]);
        assert_eq!(
            times("0 0 13 * 5", "UTC", "2026-11-01T00:00:00Z", 3),
            ["2026-11-06T00:00:00+00:00", "2026-11-13T00:00:00+00:00", "2026-11-20T00:00:00+00:00"]
        );
        assert_eq!(times("@hourly", "UTC", "2026-11-21T00:30:00Z", 1), ["2026-11-21T01:00:00+00:00"]);
    }

    #[test]
    fn a_sixth_field_in_front_is_seconds() {
        assert_eq!(times("*/2 * * * * *", "UTC", "2026-11-21T00:00:01Z", 1), ["2026-11-21T00:00:02+00:00"]);
    }

    #[test]
    fn an_hour_that_daylight_saving_drops_is_made_up_for_and_one_that_it_repeats_counts_once() {
        assert_eq!(
            times("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", 2),
            ["2026-03-29T01:00:00+00:00", "2026-03-30T00:30:00+00:00"]
        );
        assert_eq!(
            times("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", 2),
            ["2026-10-25T00:30:00+00:00", "2026-10-26T01:30:00+00:00"]
        );
    }

    #[test]
    fn what_is_no_schedule_and_what_never_comes_is_refused() {
        for cron in ["", "often", "61 * * * *", "* * * *", "0 0 31 2 *", "0 0 1 1 * 2030 *"] {
            assert!(Schedule::new(cron, Tz::UTC).is_err(), "{cron}");
        }
    }

    #[test]
    fn the_longest_gap_of_office_hours_is_the_weekend() {
        let schedule = Schedule::new("0 9-17 * * 1-5", Tz::UTC).unwrap();
        let gap = schedule.longest_gap("2026-11-21T00:00:00Z".parse().unwrap());
        assert_eq!(gap, Duration::from_hours(64));
    }

    #[test]
    fn times_that_were_missed_are_counted() {
        let schedule = Schedule::new("*/15 * * * *", Tz::UTC).unwrap();
        let at = |text: &str| text.parse().unwrap();
        assert_eq!(schedule.times_between(at("2026-11-21T00:00:00Z"), at("2026-11-21T00:14:59Z")), 0);
        assert_eq!(schedule.times_between(at("2026-11-21T00:00:00Z"), at("2026-11-21T00:30:00Z")), 2);
    }
}
