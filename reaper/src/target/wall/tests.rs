use chrono_tz::{Africa, America, Asia, Australia, Europe, Pacific};
use proptest::prelude::*;

use super::*;

/// Zones and dates with all kinds of clock changes: one hour back and forward, half an hour, across
/// midnight, one minute after midnight, a whole day that was skipped, and a whole day that occurred
/// twice.
const CHANGES: [(Tz, &str); 14] = [
    (Europe::Berlin, "2025-10-26T01:00:00Z"),
    (Europe::Berlin, "2025-03-30T01:00:00Z"),
    (Australia::Lord_Howe, "2025-04-05T15:00:00Z"),
    (Australia::Lord_Howe, "2025-10-04T15:30:00Z"),
    (America::Havana, "2025-11-02T05:00:00Z"),
    (America::Havana, "2025-03-09T05:00:00Z"),
    (Africa::Cairo, "2025-10-30T21:00:00Z"),
    (Africa::Cairo, "2025-04-24T22:00:00Z"),
    (Asia::Beirut, "2025-10-25T21:00:00Z"),
    (America::St_Johns, "2009-11-01T02:31:00Z"),
    (America::St_Johns, "1988-10-30T01:31:00Z"),
    (Pacific::Apia, "2011-12-30T10:00:00Z"),
    (Pacific::Kwajalein, "1993-08-21T12:00:00Z"),
    (America::Juneau, "1867-10-19T00:31:13Z"),
];

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

/// Returns every instant at which clocks show the time `wall`. If this time was skipped, returns
/// the instant that PostgreSQL uses.
fn readings(zone: Tz, wall: NaiveDateTime) -> Vec<DateTime<Utc>> {
    let around = |hours: i64| offset(zone, (wall + TimeDelta::hours(hours)).and_utc());
    let mut offsets: Vec<TimeDelta> = (-30..=30).map(around).collect();
    offsets.sort_unstable();
    offsets.dedup();
    let shown = |by: &TimeDelta| offset(zone, (wall - *by).and_utc()) == *by;
    let found: Vec<DateTime<Utc>> =
        offsets.iter().filter(|by| shown(by)).map(|by| (wall - *by).and_utc()).collect();
    if !found.is_empty() {
        return found;
    }
    // The time was skipped, so the offset before the change applies.
    let before = offsets.iter().copied().find(|by| {
        let read = (wall - *by).and_utc();
        offset(zone, read) > *by
            && changes(zone, read).iter().any(|change| change.before == *by && change.at <= read)
    });
    vec![(wall - before.unwrap()).and_utc()]
}

fn agrees(
    zone: Tz,
    now: DateTime<Utc>,
    past: &Past<NaiveDateTime>,
    shown: NaiveDateTime,
    read: &[DateTime<Utc>],
) {
    let is_past =
        shown < past.before && past.skipped.is_none_or(|(low, high)| shown < low || shown >= high);
    assert_eq!(
        is_past,
        read.iter().all(|read| *read < now),
        "{zone} at {now}: {shown}, read as {read:?}; {past:?}"
    );
    let (days, day) = (past.of_days(), shown.date());
    if day < days.before && days.skipped.is_none_or(|(low, high)| day < low || day >= high) {
        assert!(is_past, "{zone} at {now}: the day of {shown} is not past");
    }
}

#[test]
fn minutes_around_a_change_are_past_in_all_interpretations() {
    for (zone, change) in CHANGES {
        let change = at(change);
        let around = wall(change, offset(zone, change));
        let shown: Vec<_> = (-200..=200)
            .map(|minutes| around + TimeDelta::minutes(minutes))
            .map(|shown| (shown, readings(zone, shown)))
            .collect();
        for now in (-75..75).map(|minutes| change + TimeDelta::minutes(minutes)) {
            let past = past(zone, now);
            for (shown, read) in &shown {
                agrees(zone, now, &past, *shown, read);
            }
        }
    }
}

#[test]
fn cutoff_stays_at_the_start_of_a_repeated_hour() {
    for (zone, now, before) in [
        (Europe::Berlin, "2025-10-26T00:00:00Z", "2025-10-26T02:00:00"),
        (Europe::Berlin, "2025-10-26T00:15:00Z", "2025-10-26T02:00:00"),
        (Europe::Berlin, "2025-10-26T00:59:59.999999Z", "2025-10-26T02:00:00"),
        (Europe::Berlin, "2025-10-26T01:15:00Z", "2025-10-26T02:15:00"),
        (Europe::Berlin, "2025-10-25T23:59:00Z", "2025-10-26T01:59:00"),
        (Australia::Lord_Howe, "2025-04-05T14:45:00Z", "2025-04-06T01:30:00"),
        (Africa::Cairo, "2025-10-30T20:30:00Z", "2025-10-30T23:00:00"),
        (America::St_Johns, "2009-11-01T02:30:30Z", "2009-10-31T23:01:00"),
    ] {
        assert_eq!(past(zone, at(now)).before, before.parse().unwrap(), "{zone} {now}");
    }
}

proptest! {
    #[test]
    fn times_in_every_zone_are_past_in_all_interpretations(
        zone in prop::sample::select(&chrono_tz::TZ_VARIANTS[..]),
        second in -1_600_000_000_i64..2_200_000_000,
        away in -30 * 3600_i64..30 * 3600,
    ) {
        // Moves to the next change within half a year, if there is one, because most random
        // instants are far from any change.
        let step = TimeDelta::hours(20);
        let mut now = DateTime::from_timestamp(second, 250_000_000).unwrap();
        for _ in 0..220 {
            if offset(zone, now) != offset(zone, now + step) {
                now = change(zone, now, now + step) + TimeDelta::seconds(second.rem_euclid(7200) - 3600);
                break;
            }
            now += step;
        }
        let (past, around) = (past(zone, now), wall(now, offset(zone, now)));
        for shown in [away, away / 20].map(|seconds| around + TimeDelta::seconds(seconds)) {
            agrees(zone, now, &past, shown, &readings(zone, shown));
        }
    }
}
