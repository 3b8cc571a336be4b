use std::time::Duration;

use chrono::{DateTime, NaiveDateTime, TimeDelta, Timelike as _, Utc};
use chrono_tz::Tz;

use proptest::prelude::{ProptestConfig, prop_assert_eq, proptest};
use proptest::sample::select;

use super::fields::Fields;
use super::wall::WallClock;
use super::{Schedule, Ticks};

fn schedule(cron: &str, zone: &str) -> Schedule {
    Schedule::new(cron, zone.parse().unwrap()).unwrap_or_else(|why| panic!("{cron}: {why}"))
}

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn times(cron: &str, zone: &str, from: &str, count: usize) -> Vec<String> {
    let all = schedule(cron, zone);
    all.times_after(at(from)).take(count).map(|time| time.format("%FT%TZ").to_string()).collect()
}

/// Returns the scheduled times on one date in the zone, as local times with the UTC offset.
fn day(cron: &str, zone: &str, date: &str) -> Vec<String> {
    let (all, zone): (Schedule, Tz) = (schedule(cron, zone), zone.parse().unwrap());
    let from = at(&format!("{date}T00:00:00Z")) - TimeDelta::days(1) - TimeDelta::seconds(1);
    let local = all.times_after(from).map(|time| time.with_timezone(&zone));
    let to_the_day = local.take_while(|time| time.date_naive().to_string().as_str() <= date);
    to_the_day
        .filter(|time| time.date_naive().to_string() == date)
        .map(|time| time.format("%H:%M %:z").to_string())
        .collect()
}

const HALF_PAST_TWO: &str = "30 2 * * *";
const QUARTERS: &str = "*/15 * * * *";
const HOURLY: &str = "0 * * * *";

#[test]
fn times_of_a_day_with_and_without_daylight_saving() {
    // The zone; the date; the times of HALF_PAST_TWO on that date; the numbers of times of QUARTERS
    // and of HOURLY on that date; and consecutive times of QUARTERS around the clock change.
    type Day = (
        &'static str,
        &'static str,
        &'static [&'static str],
        usize,
        usize,
        &'static [&'static str],
    );
    let days: [Day; 12] = [
        (
            "UTC",
            "2026-03-29",
            &["02:30 +00:00"],
            96,
            24,
            &["02:00 +00:00", "02:15 +00:00", "02:30 +00:00"],
        ),
        // 02:00 becomes 03:00.
        (
            "Europe/Berlin",
            "2026-03-29",
            &["03:00 +02:00"],
            92,
            23,
            &["01:45 +01:00", "03:00 +02:00", "03:15 +02:00"],
        ),
        // 03:00 becomes 02:00.
        (
            "Europe/Berlin",
            "2026-10-25",
            &["02:30 +02:00"],
            100,
            25,
            &["02:45 +02:00", "02:00 +01:00", "02:15 +01:00"],
        ),
        (
            "Europe/Berlin",
            "2026-11-21",
            &["02:30 +01:00"],
            96,
            24,
            &["02:00 +01:00", "02:15 +01:00", "02:30 +01:00"],
        ),
        (
            "America/New_York",
            "2026-03-08",
            &["03:00 -04:00"],
            92,
            23,
            &["01:45 -05:00", "03:00 -04:00"],
        ),
        (
            "America/New_York",
            "2026-11-01",
            &["02:30 -05:00"],
            100,
            25,
            &["01:45 -04:00", "01:00 -05:00"],
        ),
        // 02:00 becomes 02:30: 02:30 exists, but the times between 02:00 and 02:30 do not.
        (
            "Australia/Lord_Howe",
            "2026-10-04",
            &["02:30 +11:00"],
            94,
            23,
            &["01:45 +10:30", "02:30 +11:00"],
        ),
        // 02:00 becomes 01:30: 02:00 and 02:30 occur once.
        (
            "Australia/Lord_Howe",
            "2026-04-05",
            &["02:30 +10:30"],
            98,
            24,
            &["01:45 +11:00", "01:30 +10:30", "01:45 +10:30"],
        ),
        (
            "Asia/Kolkata",
            "2026-03-29",
            &["02:30 +05:30"],
            96,
            24,
            &["02:00 +05:30", "02:15 +05:30", "02:30 +05:30"],
        ),
        // No daylight saving time since 2019; before, 00:00 became 01:00 or 23:00.
        (
            "America/Sao_Paulo",
            "2026-10-18",
            &["02:30 -03:00"],
            96,
            24,
            &["02:00 -03:00", "02:15 -03:00"],
        ),
        (
            "America/Sao_Paulo",
            "2018-11-04",
            &["02:30 -02:00"],
            92,
            23,
            &["01:00 -02:00", "01:15 -02:00"],
        ),
        (
            "America/Sao_Paulo",
            "2018-02-17",
            &["02:30 -02:00"],
            100,
            25,
            &["23:45 -02:00", "23:00 -03:00"],
        ),
    ];
    for (zone, date, half_past_two, quarters, hours, in_a_row) in days {
        assert_eq!(day(HALF_PAST_TWO, zone, date), half_past_two, "{zone} {date}");
        let all = day(QUARTERS, zone, date);
        assert_eq!(all.len(), quarters, "{zone} {date}: {all:?}");
        assert!(all.windows(in_a_row.len()).any(|some| some == in_a_row), "{zone} {date}: {all:?}");
        assert_eq!(day(HOURLY, zone, date).len(), hours, "{zone} {date}");
        // In real time, the interval is always 15 minutes.
        let (each, from) =
            (schedule(QUARTERS, zone), at(&format!("{date}T00:00:00Z")) - TimeDelta::days(1));
        let times: Vec<_> = each.times_after(from).take(3 * 96).collect();
        assert!(
            times.windows(2).all(|pair| pair[1] - pair[0] == TimeDelta::minutes(15)),
            "{zone} {date}"
        );
    }
}

#[test]
fn skipped_fixed_times_are_made_up_for_once() {
    // Skipped times match together, at the time of the clock change.
    assert_eq!(day("0,30 2 * * *", "Europe/Berlin", "2026-03-29"), ["03:00 +02:00"]);
    assert_eq!(
        day("30 1-4 * * *", "Europe/Berlin", "2026-03-29"),
        ["01:30 +01:00", "03:00 +02:00", "03:30 +02:00", "04:30 +02:00"]
    );
    assert_eq!(
        day("30 1-3 * * *", "Europe/Berlin", "2026-10-25"),
        ["01:30 +02:00", "02:30 +02:00", "03:30 +01:00"]
    );
    // The hour before midnight is skipped: Saturday's time matches at the first moment of Sunday.
    assert_eq!(
        times("30 23 * * 6", "America/Nuuk", "2026-03-28T12:00:00Z", 1),
        ["2026-03-29T01:00:00Z"]
    );
}

/// Simulates Vixie cron minute by minute. Its main loop compares the local time with a "virtual
/// time", the time up to which jobs have been started.
fn vixie(cron: &str, zone: &str, from: DateTime<Utc>, minutes: i64) -> Vec<DateTime<Utc>> {
    let zone: Tz = zone.parse().unwrap();
    let fields = Fields::read(cron).unwrap();
    let matches =
        |wall: NaiveDateTime| with_croner(&fields, wall - TimeDelta::seconds(1)) == Some(wall);
    let starred = cron.split(' ').take(2).any(|field| field.starts_with('*'));
    let minute = TimeDelta::minutes(1);
    let mut fired = Vec::new();
    let mut virtual_time = (from - minute).with_timezone(&zone).naive_local();
    for time in (0..minutes).map(|passed| from + TimeDelta::minutes(passed)) {
        let running = time.with_timezone(&zone).naive_local();
        let ahead = running - virtual_time;
        let comes = if ahead > TimeDelta::zero() {
            let mut made_up = false;
            while virtual_time < running {
                virtual_time += minute;
                made_up |= !starred && matches(virtual_time);
            }
            made_up || (starred && matches(running))
        } else {
            starred && matches(running)
        };
        fired.extend(comes.then_some(time));
    }
    fired
}

#[test]
fn times_match_those_of_vixie_cron() {
    let schedules = [
        "30 2 * * *",
        "*/15 * * * *",
        "0 * * * *",
        "0,30 2 * * *",
        "15 1-3 * * *",
        "*/20 2 * * *",
        "45 */2 * * *",
        "59 1 * * *",
        "0 3 * * *",
        "0 0 * * *",
        "30 23 * * 6",
        "10,50 0,1,2,23 * * *",
        "0 2 29 3 *",
        "5 1 * * 0",
        "* 1 * * *",
    ];
    let changes = [
        ("Europe/Berlin", "2026-03-29"),
        ("Europe/Berlin", "2026-10-25"),
        ("America/New_York", "2026-03-08"),
        ("America/New_York", "2026-11-01"),
        ("Australia/Lord_Howe", "2026-10-04"),
        ("Australia/Lord_Howe", "2026-04-05"),
        ("America/Sao_Paulo", "2018-11-04"),
        ("America/Sao_Paulo", "2018-02-18"),
        ("Asia/Kolkata", "2026-03-29"),
        ("UTC", "2026-03-29"),
        ("America/Nuuk", "2026-03-28"),
        ("America/Nuuk", "2026-10-24"),
        ("Antarctica/Troll", "2026-03-29"),
        ("Antarctica/Troll", "2026-10-25"),
        ("Africa/Cairo", "2026-04-24"),
    ];
    let mut came = 0;
    for (zone, date) in changes {
        let from = at(&format!("{date}T00:00:00Z")) - TimeDelta::days(1);
        for cron in schedules {
            let until = from + TimeDelta::days(3);
            let second = TimeDelta::seconds(1);
            let ours: Vec<_> = schedule(cron, zone)
                .times_after(from - second)
                .take_while(|time| *time < until)
                .collect();
            assert_eq!(
                ours,
                vixie(cron, zone, from, 3 * 24 * 60),
                "{cron} in {zone} around {date}"
            );
            came += ours.len();
        }
    }
    assert!(came > 9_000, "{came}");
}

#[test]
fn crontab_syntax_is_accepted() {
    let from = "2026-11-21T00:30:00Z"; // a Saturday
    for (cron, first) in [
        ("@hourly", "2026-11-21T01:00:00Z"),
        ("@daily", "2026-11-22T00:00:00Z"),
        ("@midnight", "2026-11-22T00:00:00Z"),
        ("@weekly", "2026-11-22T00:00:00Z"),
        ("@monthly", "2026-12-01T00:00:00Z"),
        ("@yearly", "2027-01-01T00:00:00Z"),
        (" @Annually ", "2027-01-01T00:00:00Z"),
        ("0 0 * * 0", "2026-11-22T00:00:00Z"),
        ("0 0 * * 7", "2026-11-22T00:00:00Z"),
        ("0 0 * * sun", "2026-11-22T00:00:00Z"),
        ("0 0 * * MON-fri", "2026-11-23T00:00:00Z"),
        ("0 0 * * 5-7", "2026-11-22T00:00:00Z"),
        ("0 0 * * FRI-SUN", "2026-11-22T00:00:00Z"),
        ("0 0 * * SUN-SUN", "2026-11-22T00:00:00Z"),
        ("0 0 1 jan,JUL *", "2027-01-01T00:00:00Z"),
        ("  5\t4   *  * * ", "2026-11-21T04:05:00Z"),
        ("10-20/5,50 * * * *", "2026-11-21T00:50:00Z"),
        ("7-59/10 * * * *", "2026-11-21T00:37:00Z"),
        ("*/40 * * * *", "2026-11-21T00:40:00Z"),
        ("0 0 29 2 *", "2028-02-29T00:00:00Z"),
        // At least one day field must match. If a day field begins with an asterisk, both must
        // match.
        ("0 0 13 * 5", "2026-11-27T00:00:00Z"),
        ("0 0 */2 * 1", "2026-11-23T00:00:00Z"),
        ("0 0 23 * */2", "2027-01-23T00:00:00Z"),
        ("0 0 30 * *", "2026-11-30T00:00:00Z"),
        // Leading seconds field.
        ("*/2 * * * * *", "2026-11-21T00:30:02Z"),
        ("30 0 * * * *", "2026-11-21T01:00:30Z"),
        // croner's extensions.
        ("0 0 L * *", "2026-11-30T00:00:00Z"),
        ("0 0 ? * FRI#1", "2026-12-04T00:00:00Z"),
        ("0 0 * * 5L", "2026-11-27T00:00:00Z"),
        ("0 0 15W * *", "2026-12-15T00:00:00Z"),
    ] {
        assert_eq!(times(cron, "UTC", from, 1), [first], "{cron}");
    }
    assert_eq!(
        times("0 0 13 * 5", "UTC", "2026-11-07T00:00:00Z", 3),
        ["2026-11-13T00:00:00Z", "2026-11-20T00:00:00Z", "2026-11-27T00:00:00Z"]
    );
}

#[test]
fn invalid_schedules_are_rejected_with_a_hint() {
    for (cron, why) in [
        ("", "it has 0 fields"),
        ("often", "it has 1 fields"),
        ("* * * *", "minute, hour, day of month, month, day of week"),
        ("0 0 1 1 * 2030 *", "There is no year, and no command"),
        ("*/5 * * * * root reap", "no command"),
        ("61 * * * *", "minute: 61 is not from 0 to 59"),
        ("0 24 * * *", "hour: 24 is not from 0 to 23"),
        ("0 0 0 * *", "day of month: 0 is not from 1 to 31"),
        ("0 0 * 13 *", "month: 13 is not from 1 to 12"),
        ("0 0 * * 8", "day of week: 8 is not from 0 to 7"),
        ("0 0 * MON *", "month: \"MON\" is none of: a value (1 to 12 or JAN to DEC)"),
        ("0 0 * * JAN", "day of week: \"JAN\" is none of: a value (0 to 7 or SUN to SAT)"),
        ("0 0 * * MONDAY", "\"MONDAY\" is none of"),
        ("0 JAN * * *", "hour: \"JAN\" is none of: a value (0 to 23)"),
        ("x * * * *", "a range (a-b), a list (a,b), *, or steps (*/n, a-b/n)"),
        (", * * * *", "minute: \",\" is none of"),
        ("1,,2 * * * *", "minute: \"1,,2\" is none of"),
        ("30-10 * * * *", "the range \"30-10\" ends before it begins"),
        ("0/15 * * * *", "no range to step through: write 0-59/15"),
        ("*/0 * * * *", "in \"*/0\", the step is not from 1 to 59"),
        ("*/90 * * * *", "in \"*/90\", the step is not from 1 to 59"),
        ("-5 * * * *", "minute: \"-5\" is none of"),
        ("0~59 * * * *", "for a random time, use JITTER"),
        ("0 0 * * FRI#6", "6 is not from 1 to 5"),
        ("@reboot", "start `session-reaper run`"),
        (
            "@fortnightly",
            "@fortnightly is none of @hourly, @daily, @midnight, @weekly, @monthly, @yearly, @annually",
        ),
        ("CRON_TZ=Europe/Berlin 0 2 * * *", "by TIMEZONE"),
        ("0 0 31 2 *", "that time never comes"),
    ] {
        let refused = Schedule::new(cron, Tz::UTC).expect_err(cron);
        assert!(refused.contains(why), "{cron}: {refused}");
    }
}

#[test]
fn gaps_cover_a_whole_year() {
    const MINUTE: u64 = 60;
    const HOUR: u64 = 60 * MINUTE;
    const DAY: u64 = 24 * HOUR;
    for (cron, zone, shortest, longest) in [
        ("* * * * * *", "UTC", 1, 1),
        ("* * * * * *", "Europe/Berlin", 1, 1),
        ("*/15 * * * *", "Europe/Berlin", 15 * MINUTE, 15 * MINUTE),
        ("0 9-17 * * 1-5", "UTC", HOUR, 64 * HOUR),
        // These schedules have 108 and 32,400 times per day. The longest gap is the weekend.
        ("*/5 9-17 * * 1-5", "UTC", 5 * MINUTE, 63 * HOUR + 5 * MINUTE),
        ("* * 9-17 * * 1-5", "UTC", 1, 63 * HOUR + 1),
        ("0 3 * * *", "UTC", DAY, DAY),
        // Days with clock changes are longer or shorter.
        ("0 3 * * *", "Europe/Berlin", 23 * HOUR, 25 * HOUR),
        // The skipped time 02:30 matches at 03:00.
        ("30 2,3 * * *", "Europe/Berlin", 30 * MINUTE, 23 * HOUR),
        ("0 * * * *", "Australia/Lord_Howe", HOUR, 90 * MINUTE),
        ("0 0 1 * *", "UTC", 28 * DAY, 31 * DAY),
        ("0 0 1 1 *", "UTC", 365 * DAY, 365 * DAY),
        ("0 0 29 2 *", "UTC", 1_461 * DAY, 1_461 * DAY),
    ] {
        let gaps = schedule(cron, zone).gaps(at("2026-11-21T00:10:00Z"));
        let seconds = (gaps.shortest.as_secs(), gaps.longest.as_secs());
        assert_eq!(seconds, (shortest, longest), "{cron} in {zone}");
    }
}

#[test]
fn missed_times_are_counted_up_to_a_limit() {
    let quarters = schedule(QUARTERS, "UTC");
    assert_eq!(quarters.times_between(at("2026-11-21T00:00:00Z"), at("2026-11-21T00:14:59Z")), 0);
    assert_eq!(quarters.times_between(at("2026-11-21T00:00:00Z"), at("2026-11-21T00:30:00Z")), 2);
    let seconds = schedule("* * * * * *", "UTC");
    assert_eq!(
        seconds.times_between(at("2026-11-21T00:00:00Z"), at("2026-12-21T00:00:00Z")),
        10_000
    );
}

#[test]
fn clock_corrections_repeat_no_run_and_larger_changes_restart() {
    let quarters = schedule(QUARTERS, "UTC");
    let mut ticks = Ticks::new(&quarters, Duration::ZERO);
    let noon = ticks.next(at("2026-11-21T11:50:00Z")).unwrap();
    assert_eq!((noon.time, noon.run_at), (at("2026-11-21T12:00:00Z"), at("2026-11-21T12:00:00Z")));
    assert_eq!(ticks.begin(noon, at("2026-11-21T12:00:00Z")), 0);
    assert_eq!(ticks.end(at("2026-11-21T12:00:02Z")), 0);
    // After a correction by a few seconds, noon does not recur.
    assert_eq!(ticks.next(at("2026-11-21T11:59:30Z")).unwrap().time, at("2026-11-21T12:15:00Z"));
    // If the clock is set back by hours, the schedule restarts from the current time, even during a
    // wait.
    let quarter = ticks.next(at("2026-11-21T12:00:02Z")).unwrap();
    assert!(!ticks.is_overtaken(quarter, at("2026-11-21T12:14:59Z")));
    assert!(ticks.is_overtaken(quarter, at("2026-11-21T09:10:00Z")));
    assert_eq!(ticks.next(at("2026-11-21T09:10:00Z")).unwrap().time, at("2026-11-21T09:15:00Z"));
    // After the clock has been set forward, the run is due at once, and 12 other times have passed.
    assert_eq!(ticks.begin(quarter, at("2026-11-21T15:20:00Z")), 12);
    // One scheduled time passes during the run.
    assert_eq!(ticks.end(at("2026-11-21T15:31:00Z")), 1);
    assert_eq!(ticks.next(at("2026-11-21T15:31:00Z")).unwrap().time, at("2026-11-21T15:45:00Z"));
}

#[test]
fn jitter_never_delays_past_the_next_time() {
    let quarters = schedule(QUARTERS, "UTC");
    let jitter = Duration::from_mins(14);
    let ticks = Ticks::new(&quarters, jitter);
    let delays: Vec<_> = (0..200)
        .map(|_| {
            let tick = ticks.next(at("2026-11-21T11:50:00Z")).unwrap();
            assert_eq!(tick.time, at("2026-11-21T12:00:00Z"));
            (tick.run_at - tick.time).to_std().unwrap()
        })
        .collect();
    assert!(delays.iter().all(|delay| *delay <= jitter));
    // The delays are spread over the range. With 200 delays, a quarter of the range is empty once
    // in 10^25 tests.
    assert!(
        delays.iter().any(|delay| *delay < jitter / 4)
            && delays.iter().any(|delay| *delay > jitter * 3 / 4)
    );
    assert_eq!(
        Ticks::new(&quarters, Duration::ZERO)
            .next(at("2026-11-21T11:50:00.5Z"))
            .unwrap()
            .run_at
            .nanosecond(),
        0
    );
}

/// Finds times on a clock that never changes with the crate `croner`, which is independent of the
/// crate `cron`.
fn with_croner(fields: &Fields, from: NaiveDateTime) -> Option<NaiveDateTime> {
    use croner::parser::{CronParser, Seconds, Year};

    let parser = CronParser::builder()
        .seconds(Seconds::Required)
        .year(Year::Disallowed)
        .dom_and_dow(fields.both_days)
        .build();
    let cron = parser.parse(&fields.pattern).unwrap();
    Some(cron.find_next_occurrence(&from.and_utc(), false).ok()?.naive_utc())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn times_on_the_wall_match_those_of_croner(
        second in select(vec!["0", "*/20", "5,50", "59"]),
        minute in select(vec!["0", "30", "*/7", "10-40/10", "*"]),
        hour in select(vec!["2", "*", "9-17", "0", "23"]),
        day in select(vec![
            "*", "?", "1", "29", "31", "1,15", "*/2", "3-9/3", "L", "LW", "1W", "15W", "31W", "L,10",
        ]),
        month in select(vec!["*", "2", "*/3", "11", "JAN,FEB"]),
        weekday in select(vec![
            "*", "?", "0", "7", "1", "SAT-SUN", "1-5", "*/2", "FRI#2", "5L", "0#1,3", "TUE#5",
        ]),
        start in 0..3_000_000_000_i64,
    ) {
        let text = [second, minute, hour, day, month, weekday].join(" ");
        let fields = Fields::read(&text).unwrap();
        let wall = WallClock::new(&fields).unwrap();
        let mut from = DateTime::from_timestamp(start, 0).unwrap().naive_utc();
        for _ in 0..3 {
            let (found, expected) = (wall.next(from), with_croner(&fields, from));
            prop_assert_eq!(found, expected, "{} after {}", text, from);
            let Some(found) = found else { break };
            from = found;
        }
    }
}

#[test]
fn leap_days_are_found_across_2100() {
    let leap_days = times("0 12 29 2 *", "UTC", "2091-01-01T00:00:00Z", 3);
    assert_eq!(leap_days, ["2092-02-29T12:00:00Z", "2096-02-29T12:00:00Z", "2104-02-29T12:00:00Z"]);
    let late = times("0 0 1 1 *", "UTC", "2150-06-01T00:00:00Z", 2);
    assert_eq!(late, ["2151-01-01T00:00:00Z", "2152-01-01T00:00:00Z"]);
}
