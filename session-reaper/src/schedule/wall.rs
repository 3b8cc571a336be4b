//! Finds the times of a schedule on a clock that never changes, with the crate `cron`.
//!
//! This module adds three features that `cron` lacks:
//!
//! - If both day fields are restricted, a day must match at least one of them. There are then two
//!   `cron` schedules, and the earlier one of their next times is used.
//! - `L`, `LW`, `15W`, `5#2` and `5#L` are conditions on the days that `cron` finds.
//! - `cron` ends in 2100. For the calculation, each year is therefore replaced by a supported year
//!   with the same calendar.

use chrono::{Datelike as _, NaiveDate, NaiveDateTime, NaiveTime, Weekday};
use cron::TimeUnitSpec as _;

use super::fields::Fields;

/// How many years to search. Because 2100 has no February 29, the longest time between two matches
/// is 40 years: from a February 29 to the next one on the same day of the week.
const YEARS: i32 = 40;

/// The times of a schedule on a clock that never changes.
#[derive(Clone, Debug)]
pub(super) struct WallClock(Vec<Part>);

/// A `cron` schedule, and the conditions on days that `cron` cannot express. A time must match all
/// of them.
#[derive(Clone, Debug)]
struct Part {
    times: Box<cron::Schedule>,
    days: Vec<DayRule>,
    weekdays: Vec<DayRule>,
}

/// A condition on a day. It comes from a day field with an extension, such as `L`: the extension
/// itself, or another value in the same field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DayRule {
    Day(u32),
    LastDay,
    LastWorkday,
    NearestWorkday(u32),
    Weekday(Weekday),
    NthWeekday(Weekday, u32),
    LastOfWeekday(Weekday),
}

impl WallClock {
    /// Creates the schedule from fields that [`Fields::read`] has validated.
    pub(super) fn new(fields: &Fields) -> Result<Self, cron::error::Error> {
        let mut given = fields.pattern.split(' ');
        let [second, minute, hour, day, month, weekday] =
            std::array::from_fn(|_| given.next().unwrap_or("*"));
        let part = |day: &str, weekday: &str| -> Result<Part, cron::error::Error> {
            let (days, weekdays) = (day_rules(day), weekday_rules(weekday));
            let day = if days.is_empty() { day } else { "*" };
            let weekday = if weekdays.is_empty() { numbers(weekday) } else { "*".to_owned() };
            let pattern = format!("{second} {minute} {hour} {day} {month} {weekday}");
            Ok(Part { times: Box::new(pattern.parse()?), days, weekdays })
        };
        Ok(Self(if fields.both_days {
            vec![part(day, weekday)?]
        } else {
            vec![part(day, "*")?, part("*", weekday)?]
        }))
    }

    /// Returns the first time after `wall`.
    pub(super) fn next(&self, wall: NaiveDateTime) -> Option<NaiveDateTime> {
        self.0.iter().filter_map(|part| part.next(wall)).min()
    }

    /// Returns the times of day, which are the same on every day on which the schedule matches.
    pub(super) fn times_of_day(&self) -> Vec<NaiveTime> {
        let day = NaiveDate::from_ymd_opt(MODEL_YEARS, 1, 1).unwrap_or_default();
        let Some(part) = self.0.first() else { return Vec::new() };
        // All parts have the same seconds, minutes and hours.
        let mut times = Vec::new();
        for hour in part.times.hours().iter() {
            for minute in part.times.minutes().iter() {
                for second in part.times.seconds().iter() {
                    times.extend(day.and_hms_opt(hour, minute, second).map(|time| time.time()));
                }
            }
        }
        times
    }
}

impl Part {
    fn next(&self, wall: NaiveDateTime) -> Option<NaiveDateTime> {
        (wall.year()..=wall.year() + YEARS).find_map(|year| {
            let model = model_of(year);
            let begin = NaiveDate::from_ymd_opt(model, 1, 1)?.and_time(NaiveTime::MIN);
            let from = if year == wall.year() {
                wall.with_year(model)?
            } else {
                begin.checked_sub_signed(chrono::TimeDelta::seconds(1))?
            };
            self.next_in_year(model, from)?.with_year(year)
        })
    }

    /// Returns the first time after `from` in a year that `cron` supports.
    fn next_in_year(&self, year: i32, mut from: NaiveDateTime) -> Option<NaiveDateTime> {
        loop {
            let found = self.times.after(&from.and_utc()).next()?.naive_utc();
            if found.year() != year {
                return None;
            }
            if self.is_on(found.date()) {
                return Some(found);
            }
            from = found.date().and_hms_opt(23, 59, 59)?;
        }
    }

    fn is_on(&self, date: NaiveDate) -> bool {
        let is_met =
            |rules: &[DayRule]| rules.is_empty() || rules.iter().any(|rule| rule.is_on(date));
        is_met(&self.days) && is_met(&self.weekdays)
    }
}

impl DayRule {
    fn is_on(self, date: NaiveDate) -> bool {
        let last = u32::from(date.num_days_in_month());
        let is_workday =
            |day| !matches!(weekday_of(date, day), Some(Weekday::Sat | Weekday::Sun) | None);
        match self {
            Self::Day(day) => date.day() == day,
            Self::LastDay => date.day() == last,
            Self::LastWorkday => (1..=last).rev().find(|day| is_workday(*day)) == Some(date.day()),
            Self::NearestWorkday(day) => {
                let nearest = match weekday_of(date, day) {
                    Some(Weekday::Sat) if day == 1 => day + 2,
                    Some(Weekday::Sat) => day - 1,
                    Some(Weekday::Sun) if day == last => day - 2,
                    Some(Weekday::Sun) => day + 1,
                    // A month without this day does not match.
                    _ => day,
                };
                date.day() == nearest && day <= last
            }
            Self::Weekday(weekday) => date.weekday() == weekday,
            Self::NthWeekday(weekday, nth) => {
                date.weekday() == weekday && (date.day() - 1) / 7 + 1 == nth
            }
            Self::LastOfWeekday(weekday) => date.weekday() == weekday && date.day() + 7 > last,
        }
    }
}

fn weekday_of(date: NaiveDate, day: u32) -> Option<Weekday> {
    date.with_day(day).map(|date| date.weekday())
}

/// The first of 28 consecutive years that contain each of the 14 possible calendars.
const MODEL_YEARS: i32 = 1_972;

/// Returns a year that `cron` supports and that has the same calendar as `year`.
fn model_of(year: i32) -> i32 {
    let calendar = |year| {
        let first = NaiveDate::from_ymd_opt(year, 1, 1).unwrap_or_default();
        (first.weekday(), first.leap_year())
    };
    let wanted = calendar(year);
    (MODEL_YEARS..MODEL_YEARS + 28).find(|year| calendar(*year) == wanted).unwrap_or(MODEL_YEARS)
}

/// Returns the rules of a day-of-month field. Returns none if the field uses no extension.
fn day_rules(field: &str) -> Vec<DayRule> {
    if !field.contains(['L', 'W']) {
        return Vec::new();
    }
    let rules = field.split(',').flat_map(|item| match item {
        "L" => vec![DayRule::LastDay],
        "LW" => vec![DayRule::LastWorkday],
        _ => match item.strip_suffix('W').and_then(|day| day.parse().ok()) {
            Some(day) => vec![DayRule::NearestWorkday(day)],
            None => values(item, 1, 31).into_iter().map(DayRule::Day).collect(),
        },
    });
    rules.collect()
}

/// Returns the rules of a day-of-week field. Returns none if the field uses no extension.
fn weekday_rules(field: &str) -> Vec<DayRule> {
    if !field.contains('#') {
        return Vec::new();
    }
    let rules = field.split(',').flat_map(|item| match item.split_once('#') {
        Some((day, nth)) => {
            let weekdays = values(day, 0, 7).into_iter().map(weekday);
            let rule = |weekday| match nth.parse() {
                Ok(nth) => DayRule::NthWeekday(weekday, nth),
                Err(_) => DayRule::LastOfWeekday(weekday),
            };
            weekdays.map(rule).collect()
        }
        None => {
            values(item, 0, 7).into_iter().map(weekday).map(DayRule::Weekday).collect::<Vec<_>>()
        }
    });
    rules.collect()
}

/// Converts a day-of-week field, in which Sunday is 0 or 7, to the format of `cron`, in which
/// Sunday is 1.
fn numbers(field: &str) -> String {
    if field == "*" {
        return field.to_owned();
    }
    let days = field.split(',').flat_map(|item| values(item, 0, 7));
    days.map(|day| (day % 7 + 1).to_string()).collect::<Vec<_>>().join(",")
}

fn weekday(day: u32) -> Weekday {
    Weekday::try_from(u8::try_from((day + 6) % 7).unwrap_or_default()).unwrap_or(Weekday::Sun)
}

/// Returns the values of a validated item. The item is `*`, a value or a range. `*` and a range may
/// be followed by a step, such as `/5`.
fn values(item: &str, min: u32, max: u32) -> Vec<u32> {
    let (range, step) = item.split_once('/').unwrap_or((item, "1"));
    let (first, last) = match range.split_once('-') {
        Some((first, last)) => (first.parse().unwrap_or(min), last.parse().unwrap_or(max)),
        None if range == "*" => (min, max),
        None => range.parse().map_or((min, max), |value| (value, value)),
    };
    (first..=last).step_by(step.parse().unwrap_or(1).max(1)).collect()
}
