//! Wall-clock times around clock changes. This module does no I/O and reads no clock.
//!
//! When clocks are set back, some wall-clock times occur twice. When clocks are set forward, some
//! times are skipped; PostgreSQL interprets these with the offset before the change. A wall-clock
//! time is past only if it is past in every interpretation.

use chrono::{
    DateTime, NaiveDate, NaiveDateTime, NaiveTime, Offset as _, TimeDelta, TimeZone, Utc,
};
use chrono_tz::Tz;

/// The wall-clock times (local times without a zone), or the days, that are past at a given
/// instant. If a time is ambiguous, it is past only if it is past in every interpretation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Past<T> {
    /// This time and all later times are not past.
    pub(crate) before: T,
    /// The times from the first value up to, but excluding, the second value are not past, although
    /// they are before `before`. Clocks were recently set forward and skipped these times. With the
    /// offset before the change, they are still in the future.
    pub(crate) skipped: Option<(T, T)>,
}

impl Past<NaiveDateTime> {
    /// Returns the days on which every time is past.
    pub(crate) fn of_days(self) -> Past<NaiveDate> {
        let before = self.before.date();
        let days = self.skipped.map(|(from, to)| {
            let whole = to.time() == NaiveTime::MIN;
            (from.date(), if whole { to.date() } else { to.date().succ_opt().unwrap_or(to.date()) })
        });
        Past { before, skipped: days.filter(|(from, _)| *from < before) }
    }
}

/// A duration that exceeds every clock change. The largest changes are one day.
const MOST: TimeDelta = TimeDelta::hours(25);

/// The interval at which offsets are compared to find clock changes. Two clock changes are always
/// further apart.
const STEP: TimeDelta = TimeDelta::minutes(15);

/// A change of the offset from UTC.
struct Change {
    /// The first instant of the new offset.
    at: DateTime<Utc>,
    before: TimeDelta,
    after: TimeDelta,
}

/// Returns the times that are past in `zone` at the instant `now`.
pub(crate) fn past(zone: Tz, now: DateTime<Utc>) -> Past<NaiveDateTime> {
    let mut past = Past { before: wall(now, offset(zone, now)), skipped: None };
    for Change { at, before, after } in changes(zone, now) {
        if after < before && now < at && now >= at - (before - after) {
            past.before = past.before.min(wall(at, after));
        }
        if after > before && now >= at && now < at + (after - before) {
            past.skipped = Some((wall(now, before), wall(at, after)));
        }
    }
    past
}

/// Returns the clock changes shortly before and after an instant, in order.
fn changes(zone: Tz, now: DateTime<Utc>) -> Vec<Change> {
    let mut found = Vec::new();
    let Some(mut from) = now.checked_sub_signed(MOST) else { return found };
    let end = now.checked_add_signed(MOST).unwrap_or(now);
    while from < end {
        let to = from + STEP;
        let (before, after) = (offset(zone, from), offset(zone, to));
        if before != after {
            found.push(Change { at: change(zone, from, to), before, after });
        }
        from = to;
    }
    found
}

/// Returns the first second between two instants with different offsets that has the offset of the
/// later instant.
fn change(zone: Tz, from: DateTime<Utc>, to: DateTime<Utc>) -> DateTime<Utc> {
    let after = offset(zone, to);
    let (mut low, mut high) = (from.timestamp(), to.timestamp());
    while high - low > 1 {
        let middle = low.midpoint(high);
        match DateTime::from_timestamp(middle, 0) {
            Some(at) if offset(zone, at) == after => high = middle,
            _ => low = middle,
        }
    }
    DateTime::from_timestamp(high, 0).unwrap_or(to)
}

fn offset(zone: Tz, at: DateTime<Utc>) -> TimeDelta {
    let offset = zone.offset_from_utc_datetime(&at.naive_utc()).fix();
    TimeDelta::seconds(i64::from(offset.local_minus_utc()))
}

fn wall(at: DateTime<Utc>, offset: TimeDelta) -> NaiveDateTime {
    let utc = at.naive_utc();
    utc.checked_add_signed(offset).unwrap_or(utc)
}

#[cfg(test)]
mod tests;
