//! Interprets the values of a column. The median determines the unit of the values, so a few values
//! that mean "never" (zeros, infinities and times in the far future) do not affect the unit. Such
//! values are reported separately.

use reaper::Unit;

/// The start of the year 2000, in seconds since 1970. No session, token or code is older. An
/// earlier value is usually the zero value of a programming language.
pub(super) const OLDEST: f64 = 946_684_800.0;

/// The start of the year 2100, in seconds since 1970. If an integer is a later time in one unit,
/// such as seconds, it is an early time in the next smaller unit, such as milliseconds.
const LATEST: f64 = 4_102_444_800.0;

/// Twenty years, in seconds. No lifetime is longer, so a time further in the future means "never".
const LIFETIME: f64 = 20.0 * 365.25 * 86_400.0;

/// The largest integers of 31 and 32 bits. As seconds since 1970, they are times in 2038 and 2106,
/// but they are used for "never".
const NEVER: [f64; 2] = [2_147_483_647.0, 4_294_967_295.0];

/// Units of integers: the name in a target, the unit, and the number of units per second.
pub(super) const UNITS: [(&str, Unit, f64); 3] =
    [("s", Unit::Seconds, 1.0), ("ms", Unit::Milliseconds, 1e3), ("us", Unit::Microseconds, 1e6)];

/// The values of a column, if they are known.
#[derive(Clone, Debug, Default)]
pub(super) enum Known {
    /// The values could not be read.
    #[default]
    Nothing,
    /// The column has no values.
    Empty,
    Values(Values),
}

/// Values, each with the number of rows that it represents.
#[derive(Clone, Debug, Default)]
pub(super) struct Values {
    /// The time at which the values were read, in seconds since 1970.
    pub(super) as_of: f64,
    /// The values with their weights. Timestamps are in seconds since 1970; integers are unchanged.
    pub(super) seen: Vec<(f64, f64)>,
}

/// The values of a column as times.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    /// The number of rows whose time is at or after the year 2000 and does not mean "never".
    pub(super) rows: f64,
    /// The number of these rows whose time was in the future when the values were read.
    pub(super) ahead: f64,
    /// The earliest time before the year 2000.
    pub(super) ancient: Option<f64>,
    /// Whether some values are positive but too small to be times in this unit.
    pub(super) small: bool,
}

impl Values {
    /// Returns the unit of integers, which is derived from the median. Returns `None` if the median
    /// is not a time in any unit.
    pub(super) fn unit(&self) -> Option<&'static (&'static str, Unit, f64)> {
        let median = self.median()?;
        UNITS.iter().find(|(_, _, per_second)| within(median, *per_second))
    }

    /// Returns the median of the integers that may be times or lifetimes.
    pub(super) fn median(&self) -> Option<f64> {
        // Values between two units are too late for one unit and too early for the other.
        let gap = |value: f64| {
            UNITS
                .windows(2)
                .any(|units| value >= LATEST * units[0].2 && value < OLDEST * units[1].2)
        };
        let counts = |value: f64| {
            value > 0.0 && value < LATEST * 1e6 && !NEVER.contains(&value) && !gap(value)
        };
        let mut values: Vec<(f64, f64)> = self
            .seen
            .iter()
            .copied()
            .filter(|(value, weight)| *weight > 0.0 && counts(*value))
            .collect();
        values.sort_by(|a, b| a.0.total_cmp(&b.0));
        let half = values.iter().map(|(_, weight)| weight).sum::<f64>() / 2.0;
        let mut sum = 0.0;
        values.into_iter().find_map(|(value, weight)| {
            sum += weight;
            (sum >= half).then_some(value)
        })
    }

    /// Interprets the values as times with `per_second` units per second. Times that are more than
    /// `margin` seconds in the future are counted in `ahead`.
    pub(super) fn times(&self, per_second: f64, margin: f64) -> Times {
        let mut times = Times { rows: 0.0, ahead: 0.0, ancient: None, small: false };
        for &(value, weight) in &self.seen {
            let time = value / per_second;
            if time < OLDEST {
                times.ancient = Some(times.ancient.map_or(time, |least| least.min(time)));
                times.small |= value > 0.0;
            } else if time <= self.as_of + LIFETIME && !NEVER.contains(&value) {
                times.rows += weight;
                times.ahead += if time > self.as_of + margin { weight } else { 0.0 };
            }
        }
        times
    }
}

fn within(value: f64, per_second: f64) -> bool {
    (OLDEST * per_second..LATEST * per_second).contains(&value)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: f64 = 1_800_000_000.0;

    fn values(seen: impl IntoIterator<Item = (f64, f64)>) -> Values {
        Values { as_of: NOW, seen: seen.into_iter().collect() }
    }

    fn unit(seen: impl IntoIterator<Item = (f64, f64)>) -> Option<&'static str> {
        values(seen).unit().map(|(name, ..)| *name)
    }

    #[test]
    fn extremes_do_not_decide_the_unit() {
        let never = [
            0.0,
            -1.0,
            2_147_483_647.0,
            253_402_300_799.0,
            9.2e18,
            f64::INFINITY,
            f64::NEG_INFINITY,
        ];
        for (per_second, name) in [(1.0, "s"), (1e3, "ms"), (1e6, "us")] {
            // One time among values that mean "never".
            let seen =
                never.map(|value| (value, 100.0)).into_iter().chain([(NOW * per_second, 1.0)]);
            assert_eq!(unit(seen), Some(name));
        }
        assert_eq!(unit(never.map(|value| (value, 1.0))), None);
    }

    #[test]
    fn lifetimes_next_to_a_time_are_not_times() {
        let lifetimes = (1..=99).map(|n| (f64::from(n) * 60.0, 1.0));
        assert_eq!(unit(lifetimes.clone().chain([(NOW, 1.0)])), None);
        assert_eq!(unit(lifetimes.chain([(NOW, 100.0)])), Some("s"));
    }

    #[test]
    fn never_and_ancient_are_not_counted_as_times() {
        let times = values([
            (NOW - 1.0, 3.0),
            (NOW + 30.0, 4.0),
            (NOW + 90.0, 5.0),
            (f64::INFINITY, 6.0),
            (1e12, 7.0),
        ]);
        let times = times.times(1.0, 60.0);
        assert_eq!((times.rows, times.ahead, times.ancient, times.small), (12.0, 5.0, None, false));
        let times = values([(0.0, 1.0), (3600.0, 0.0), (-5.0, 1.0)]).times(1.0, 60.0);
        assert_eq!((times.rows, times.ancient, times.small), (0.0, Some(-5.0), true));
    }
}
