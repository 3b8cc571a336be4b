//! Parses a schedule in the format of crontab(5). [`super::wall`] finds the times at which the
//! schedule matches.
//!
//! Names are converted to numbers, and errors contain the name of the field.

/// A parsed schedule.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fields {
    /// Six numeric fields.
    pub(super) pattern: String,
    /// Whether the seconds, minutes or hours field is `*`, a step of `*`, or the full range. Such a
    /// schedule follows real time when clocks change.
    pub(super) interval: bool,
    /// Whether a day field begins with `*`. If so, a day must match both day fields. Otherwise, a
    /// day must match at least one of them.
    pub(super) both_days: bool,
}

struct Field {
    name: &'static str,
    least: u8,
    most: u8,
    /// The names of the values, starting with the lowest value.
    names: &'static [&'static str],
}

const SECOND: Field = Field { name: "second", least: 0, most: 59, names: &[] };
const MINUTE: Field = Field { name: "minute", least: 0, most: 59, names: &[] };
const HOUR: Field = Field { name: "hour", least: 0, most: 23, names: &[] };
const DAY: Field = Field { name: "day of month", least: 1, most: 31, names: &[] };
const MONTH: Field = Field {
    name: "month",
    least: 1,
    most: 12,
    names: &["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"],
};
const WEEKDAY: Field = Field {
    name: "day of week",
    least: 0,
    most: 7,
    names: &["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN"],
};

/// Nicknames such as `@hourly`, which crontab(5) lists as extensions.
const NICKNAMES: [(&str, &str); 7] = [
    ("@HOURLY", "0 * * * *"),
    ("@DAILY", "0 0 * * *"),
    ("@MIDNIGHT", "0 0 * * *"),
    ("@WEEKLY", "0 0 * * 0"),
    ("@MONTHLY", "0 0 1 * *"),
    ("@YEARLY", "0 0 1 1 *"),
    ("@ANNUALLY", "0 0 1 1 *"),
];

impl Fields {
    /// Parses five fields, six with a leading seconds field, or a nickname.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let upper = text.trim().to_uppercase();
        let text = if upper.starts_with('@') { nickname(&upper)? } else { upper.as_str() };
        let mut given: Vec<&str> = text.split_whitespace().collect();
        if given.iter().any(|field| field.contains('=')) {
            return Err("the time zone cannot be set here, only by TIMEZONE".to_owned());
        }
        match given.len() {
            5 => given.insert(0, "0"),
            6 => {}
            fields => {
                return Err(format!(
                    "it has {fields} fields; expected minute, hour, day of month, month, day of week, or six \
                     fields with seconds first. There is no year, and no command"
                ));
            }
        }
        let [second, minute, hour] =
            [(SECOND, 0), (MINUTE, 1), (HOUR, 2)].map(|(field, at)| field.read(given[at]));
        let (second, minute, hour) = (second?, minute?, hour?);
        let (day, month, weekday) = (day(given[3])?, MONTH.read(given[4])?, weekday(given[5])?);
        Ok(Self {
            interval: [(SECOND, &second), (MINUTE, &minute), (HOUR, &hour)]
                .iter()
                .any(|(of, given)| of.is_open(given)),
            both_days: day.starts_with('*') || weekday.starts_with('*'),
            pattern: [second, minute, hour, day, month, weekday].join(" "),
        })
    }
}

fn nickname(upper: &str) -> Result<&'static str, String> {
    if upper == "@REBOOT" {
        return Err(
            "@reboot is not supported: a daemon waits for its first scheduled time. To run at each boot, \
                    start `session-reaper run`"
                .to_owned(),
        );
    }
    let known = NICKNAMES.iter().find(|(name, _)| *name == upper);
    known.map(|(_, fields)| *fields).ok_or_else(|| {
        let names: Vec<String> = NICKNAMES.iter().map(|(name, _)| name.to_lowercase()).collect();
        format!("{} is none of {}", upper.to_lowercase(), names.join(", "))
    })
}

/// Parses a day field with extensions of crontab(5): `L` is the last day, `LW` the last weekday,
/// `15W` the weekday nearest to the 15th.
fn day(text: &str) -> Result<String, String> {
    let read = |item: &str| match item.strip_suffix('W') {
        _ if item == "L" || item == "LW" => Ok(item.to_owned()),
        Some(day) => DAY.value(day, item).map(|day| format!("{day}W")),
        None => DAY.item(item),
    };
    DAY.list(&text.replace('?', "*"), read)
}

/// Parses a day-of-week field with extensions of crontab(5): `FRI#2` is the second Friday of the
/// month, `FRIL` or `5L` the last one.
fn weekday(text: &str) -> Result<String, String> {
    let read =
        |item: &str| match item.split_once('#').or_else(|| Some((item.strip_suffix('L')?, "L"))) {
            Some((day, nth @ ("1" | "2" | "3" | "4" | "5" | "L"))) => {
                Ok(format!("{}#{nth}", WEEKDAY.value(day, item)?))
            }
            Some((_, nth)) => Err(format!(
                "day of week: in \"{item}\", {nth} is not from 1 to 5, or L for the last"
            )),
            None => WEEKDAY.item(item),
        };
    WEEKDAY.list(&text.replace('?', "*"), read)
}

impl Field {
    fn read(&self, text: &str) -> Result<String, String> {
        self.list(text, |item| self.item(item))
    }

    /// Parses comma-separated items.
    fn list(
        &self,
        text: &str,
        read: impl Fn(&str) -> Result<String, String>,
    ) -> Result<String, String> {
        let items = text
            .split(',')
            .map(|item| if item.is_empty() { Err(self.neither(text)) } else { read(item) });
        let items = items.collect::<Result<Vec<String>, String>>()?;
        let every = items.iter().any(|item| item == "*");
        Ok(if every { "*".to_owned() } else { items.join(",") })
    }

    /// Returns `true` if the field allows all values.
    fn is_open(&self, list: &str) -> bool {
        list.starts_with('*') || *list == format!("{}-{}", self.least, self.most)
    }

    /// Parses `*`, a value or a range; `*` and a range may have a step.
    fn item(&self, text: &str) -> Result<String, String> {
        let Some((of, step)) = text.split_once('/') else { return self.range(text) };
        if of != "*" && !of.contains('-') {
            let (name, most) = (self.name, self.most);
            return Err(format!(
                "{name}: \"{text}\" has a step but no range to step through: write {of}-{most}/{step}"
            ));
        }
        let range = self.range(of)?;
        match step.parse::<u8>() {
            Ok(step) if (1..=self.most - self.least).contains(&step) => {
                Ok(format!("{range}/{step}"))
            }
            _ => Err(format!(
                "{}: in \"{text}\", the step is not from 1 to {}",
                self.name,
                self.most - self.least
            )),
        }
    }

    fn range(&self, text: &str) -> Result<String, String> {
        if text == "*" {
            return Ok("*".to_owned());
        }
        let Some((first, last)) = text.split_once('-') else {
            return self.value(text, text).map(|value| value.to_string());
        };
        let (first, mut last) = (self.value(first, text)?, self.value(last, text)?);
        if self.most == 7 && first > 0 && last == 0 {
            last = 7; // SAT-SUN
        }
        if first > last {
            return Err(format!(
                "{}: the range \"{text}\" ends before it begins; write both parts as a list",
                self.name
            ));
        }
        Ok(format!("{first}-{last}"))
    }

    /// Parses a number or, if the field has names, a name. `within` is the whole item, such as a
    /// range, for error messages.
    fn value(&self, text: &str, within: &str) -> Result<u8, String> {
        let named = self.names.iter().zip(self.least..).find(|(name, _)| **name == text);
        if let Some((_, value)) = named {
            return Ok(value);
        }
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(self.neither(within));
        }
        match text.parse() {
            Ok(value) if (self.least..=self.most).contains(&value) => Ok(value),
            _ => Err(format!("{}: {text} is not from {} to {}", self.name, self.least, self.most)),
        }
    }

    fn neither(&self, text: &str) -> String {
        let Self { name, least, most, names } = self;
        let named = match names {
            [first, .., last] => {
                format!(" or {first} to {}", if *most == 7 { "SAT" } else { last })
            }
            _ => String::new(),
        };
        let random = if text.contains('~') { "; for a random time, use JITTER" } else { "" };
        format!(
            "{name}: \"{text}\" is none of: a value ({least} to {most}{named}), a range (a-b), a list (a,b), *, or \
             steps (*/n, a-b/n){random}"
        )
    }
}
