//! Determines when a row is due. The cutoff (the time before which rows are due) is computed in the
//! type of the due column, so that the index of the column can be used.

use chrono::{DateTime, NaiveDate, NaiveDateTime, SecondsFormat, TimeDelta, Utc};

use crate::sql::query::Text;
use crate::target::catalog::{Assignment, Column};
use crate::target::condition::ResolvedCondition;
use crate::target::wall::past;
use crate::target::{Ancient, Reason, Unit};

/// A due column, and the time before which its rows are due.
#[derive(Clone, Debug)]
pub(crate) struct Due {
    pub(crate) column: Column,
    /// The cutoff (the time before which rows are due) in the type of the column.
    pub(crate) cutoff: Text,
    /// The beginning of the year 2000 in the type of the column. Rows with an earlier time are not
    /// due. `None` if the target treats them as due.
    pub(crate) floor: Option<Text>,
    /// A range of wall-clock times before the cutoff that are not past, because the clocks were
    /// recently set forward over them. The range excludes its end.
    pub(crate) skipped: Option<(Text, Text)>,
    pub(crate) counts: Counts,
    /// The condition of the reason.
    pub(crate) condition: Option<ResolvedCondition>,
    /// The columns that are set instead of deleting the row. A row in which each column has its new
    /// value is not due.
    pub(crate) set: Vec<Assignment>,
}

/// How a value of the column represents a point in time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Counts {
    /// The value is a `timestamptz`, which is a point in time.
    Instant,
    /// The value is a local time in this zone.
    Local(chrono_tz::Tz),
    /// The value is a number of units since 1970. Contains the number of units per second.
    PerSecond(i64),
}

impl Due {
    /// Converts `started_at` minus the retention into the type of the column. The error explains
    /// why the conversion is not possible.
    pub(crate) fn new(
        reason: &Reason,
        ancient: Ancient,
        (column, condition): (Column, Option<ResolvedCondition>),
        started_at: DateTime<Utc>,
    ) -> Result<Self, String> {
        let (name, sql_type) = (reason.column.quoted(), column.sql_type.as_str());
        let cutoff = TimeDelta::from_std(reason.keep)
            .ok()
            .and_then(|keep| started_at.checked_sub_signed(keep));
        let Some(cutoff) = cutoff else {
            return Err(format!(
                "{}: {:?} ago is before the earliest supported time; shorten the retention",
                reason.name, reason.keep
            ));
        };
        let of_integers = || {
            reason.unit.map(|_| {
                format!(
                    "{name} is {sql_type}: leave `unit` out, because it applies only to integers"
                )
            })
        };
        let mut skipped = None;
        let (cutoff, counts) = match sql_type {
            "timestamp with time zone" => {
                // Times are exact to the microsecond, which is the resolution of PostgreSQL.
                of_integers().map_or(
                    Ok((cutoff.to_rfc3339_opts(SecondsFormat::Micros, true), Counts::Instant)),
                    Err,
                )
            }
            "timestamp without time zone" => match (of_integers(), reason.zone) {
                (Some(why), _) => Err(why),
                (None, Some(zone)) => {
                    let past = past(zone, cutoff);
                    let text =
                        |time: NaiveDateTime| time.format("%Y-%m-%d %H:%M:%S%.6f").to_string();
                    skipped = past.skipped.map(|(from, to)| (Text(text(from)), Text(text(to))));
                    Ok((text(past.before), Counts::Local(zone)))
                }
                (None, None) => Err(format!(
                    "{name} is {sql_type}: set the time zone of its values, such as zone = \"UTC\""
                )),
            },
            "date" => {
                let zone = reason.zone.unwrap_or(chrono_tz::UTC);
                // A day is past when all of its times are past.
                let past = past(zone, cutoff).of_days();
                let text = |day: NaiveDate| day.format("%Y-%m-%d").to_string();
                skipped = past.skipped.map(|(from, to)| (Text(text(from)), Text(text(to))));
                of_integers().map_or(Ok((text(past.before), Counts::Local(zone))), Err)
            }
            "smallint" | "integer" | "bigint" => match (reason.unit, reason.zone) {
                (Some(unit), None) => integer(cutoff, unit, &name, sql_type),
                (_, Some(_)) => Err(format!(
                    "{name} is {sql_type}: leave `zone` out, because its values count from 1970 in UTC"
                )),
                (None, None) => Err(format!(
                    "{name} is {sql_type}: set the unit that its values count since 1970, unit = \"s\", \"ms\" or \"us\""
                )),
            },
            _ => Err(format!(
                "{name} is {sql_type}: a due column is a timestamp with or without time zone, a date, or an integer"
            )),
        }?;
        let floor = (ancient != Ancient::Due).then(|| Text(floor(sql_type, &counts)));
        let (cutoff, set) = (Text(cutoff), Vec::new());
        Ok(Self { column, cutoff, floor, skipped, counts, condition, set })
    }
}

impl Due {
    /// Returns the time that is the watermark after a complete pass: no due row is before this
    /// time.
    pub(crate) fn examined(&self) -> &Text {
        self.skipped.as_ref().map_or(&self.cutoff, |(from, _)| from)
    }
}

/// Returns the beginning of the year 2000. Applications store earlier times only as placeholders.
fn floor(sql_type: &str, counts: &Counts) -> String {
    const SECONDS: i64 = 946_684_800;
    match counts {
        Counts::Instant => "2000-01-01T00:00:00Z".to_owned(),
        Counts::Local(_) if sql_type == "date" => "2000-01-01".to_owned(),
        Counts::Local(_) => "2000-01-01 00:00:00".to_owned(),
        Counts::PerSecond(many) => (SECONDS * many).to_string(),
    }
}

fn integer(
    cutoff: DateTime<Utc>,
    unit: Unit,
    name: &str,
    sql_type: &str,
) -> Result<(String, Counts), String> {
    let per_second = match unit {
        Unit::Seconds => 1,
        Unit::Milliseconds => 1_000,
        Unit::Microseconds => 1_000_000,
    };
    // An integer is before the cutoff if it is less than the cutoff rounded up.
    let micros = 1_000_000 / per_second;
    let whole = -(-cutoff.timestamp_micros()).div_euclid(micros);
    let fits = match sql_type {
        "smallint" => i16::try_from(whole).is_ok(),
        "integer" => i32::try_from(whole).is_ok(),
        _ => true,
    };
    if fits {
        Ok((whole.to_string(), Counts::PerSecond(per_second)))
    } else {
        Err(format!("{name} is {sql_type}, which has no room for such a time: check `unit`"))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::target::name::Ident;

    fn due(
        sql_type: &str,
        zone: Option<&str>,
        unit: Option<Unit>,
        ancient: Ancient,
    ) -> Result<Due, String> {
        due_at("2026-03-01T00:30:00.000001Z", sql_type, zone, unit, ancient)
    }

    fn due_at(
        started_at: &str,
        sql_type: &str,
        zone: Option<&str>,
        unit: Option<Unit>,
        ancient: Ancient,
    ) -> Result<Due, String> {
        let zone = zone.map(|zone| zone.parse().unwrap());
        let keep = Duration::from_hours(1);
        let reason = Reason { name: "expired".into(), zone, unit, ..Reason::new("c", keep) };
        let (sql_type, cast) = (sql_type.to_owned(), sql_type.to_owned());
        let column = Column { name: Ident::new("c"), sql_type, cast, equals: None };
        Due::new(&reason, ancient, (column, None), started_at.parse().unwrap())
    }

    fn cutoff(sql_type: &str, zone: Option<&str>, unit: Option<Unit>) -> Result<String, String> {
        due(sql_type, zone, unit, Ancient::Refuse).map(|due| due.cutoff.0)
    }

    #[test]
    fn cutoff_has_the_type_of_its_column() {
        assert_eq!(
            cutoff("timestamp with time zone", None, None).unwrap(),
            "2026-02-28T23:30:00.000001Z"
        );
        let zone = Some("Europe/Berlin");
        assert_eq!(
            cutoff("timestamp without time zone", zone, None).unwrap(),
            "2026-03-01 00:30:00.000001"
        );
        assert_eq!(cutoff("date", zone, None).unwrap(), "2026-03-01");
        assert_eq!(cutoff("date", None, None).unwrap(), "2026-02-28");
        // Rounded up: the second that contains the cutoff has begun.
        assert_eq!(cutoff("integer", None, Some(Unit::Seconds)).unwrap(), "1772321401");
        assert_eq!(cutoff("bigint", None, Some(Unit::Milliseconds)).unwrap(), "1772321400001");
        assert_eq!(cutoff("bigint", None, Some(Unit::Microseconds)).unwrap(), "1772321400000001");
    }

    #[test]
    fn repeated_and_skipped_local_times_are_past_when_unambiguous() {
        let (local, text) = ("timestamp without time zone", |text: &str| Text(text.to_owned()));
        let at = |started_at, sql_type, zone| {
            due_at(started_at, sql_type, Some(zone), None, Ancient::Due).unwrap()
        };
        let repeated = at("2025-10-26T01:15:00Z", local, "Europe/Berlin");
        assert_eq!(
            (repeated.cutoff.0.as_str(), repeated.skipped),
            ("2025-10-26 02:00:00.000000", None)
        );
        let skipped = at("2025-03-30T02:10:00Z", local, "Europe/Berlin");
        assert_eq!(skipped.examined().0, "2025-03-30 02:10:00.000000");
        assert_eq!(skipped.cutoff.0, "2025-03-30 03:10:00.000000");
        let wanted = (text("2025-03-30 02:10:00.000000"), text("2025-03-30 03:00:00.000000"));
        assert_eq!(skipped.skipped, Some(wanted));
        // At one minute past midnight, clocks went back to the day before.
        assert_eq!(at("2009-11-01T03:30:30Z", "date", "America/St_Johns").cutoff.0, "2009-10-31");
        assert_eq!(at("2009-11-01T04:30:30Z", "date", "America/St_Johns").cutoff.0, "2009-11-01");
        let whole_day = at("2011-12-30T12:00:00Z", "date", "Pacific/Apia");
        assert_eq!(
            (whole_day.cutoff.0.as_str(), whole_day.skipped),
            ("2011-12-31", Some((text("2011-12-30"), text("2011-12-31"))))
        );
    }

    #[test]
    fn floor_is_the_year_2000_in_the_type_of_the_column() {
        for (sql_type, zone, unit, expected) in [
            ("timestamp with time zone", None, None, "2000-01-01T00:00:00Z"),
            ("timestamp without time zone", Some("Asia/Tokyo"), None, "2000-01-01 00:00:00"),
            ("date", None, None, "2000-01-01"),
            ("integer", None, Some(Unit::Seconds), "946684800"),
            ("bigint", None, Some(Unit::Milliseconds), "946684800000"),
            ("bigint", None, Some(Unit::Microseconds), "946684800000000"),
        ] {
            for ancient in [Ancient::Refuse, Ancient::Keep] {
                let floor = due(sql_type, zone, unit, ancient).unwrap().floor;
                assert_eq!(floor, Some(Text(expected.to_owned())), "{sql_type}");
            }
            assert_eq!(due(sql_type, zone, unit, Ancient::Due).unwrap().floor, None);
        }
    }

    #[test]
    fn invalid_combination_is_rejected() {
        for (sql_type, zone, unit, hint) in [
            ("timestamp without time zone", None, None, "zone ="),
            ("timestamp with time zone", None, Some(Unit::Seconds), "leave `unit` out"),
            ("bigint", None, None, "unit ="),
            ("bigint", Some("UTC"), Some(Unit::Seconds), "leave `zone` out"),
            ("integer", None, Some(Unit::Milliseconds), "no room"),
            ("text", None, None, "a due column is"),
        ] {
            let why = cutoff(sql_type, zone, unit).unwrap_err();
            assert!(why.contains(hint), "{sql_type}: {why}");
        }
    }
}
