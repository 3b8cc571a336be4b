//! The text output of `status`, designed for a terminal of 100 columns.

use std::fmt::Write as _;

use chrono::{DateTime, Utc};
use pg::error_text::{escaped, is_hidden};

use crate::output::table::{columns, grouped, time};
use crate::status::{RunStatus, Status};
use reaper::BacklogSnapshot;

/// Maximum line length. Longer lines are truncated; the JSON output is complete.
const WIDTH: usize = 100;

/// Returns the text. Writing to a `String` cannot fail, so the results of the writes are ignored.
pub(super) fn text(status: &Status) -> String {
    let mut text = status.database.address.heading();
    let _ =
        writeln!(text, "{}: {}\n", status.health.as_str().to_uppercase(), escaped(&status.summary));
    if let Some(pause) = &status.pause {
        let _ = write!(
            text,
            "PAUSED until {} (in {})",
            moment(pause.until),
            age(pause.until, status.at)
        );
        let _ = match (&pause.by, pause.since) {
            (Some(by), Some(since)) => write!(text, " by {} since {}", escaped(by), moment(since)),
            (Some(by), None) => write!(text, " by {}", escaped(by)),
            _ => Ok(()),
        };
        let why = pause.why.as_ref().map(|why| format!(": {}", escaped(why))).unwrap_or_default();
        let _ = writeln!(text, "{why}\n`session-reaper resume` ends the pause");
    }
    for waiting in &status.waiting {
        let since = waiting
            .since
            .map(|since| format!(" for {}", age(status.at, since)))
            .unwrap_or_default();
        let (cause, instance, why) =
            (&waiting.cause, escaped(&waiting.instance), escaped(&waiting.why));
        let _ = writeln!(text, "WAITING{since} for {cause}, {instance}: {why}");
    }
    if status.pause.is_some() || !status.waiting.is_empty() {
        text.push('\n');
    }
    text.push_str(&runs(status));
    text.push_str(&backlog(status));
    for daemon in &status.daemons {
        let registration = &daemon.registration;
        let when = if registration.next_at > status.at {
            format!("in {}", age(registration.next_at, status.at))
        } else if status.runs.iter().any(|run| run.is_running() && run.instance == daemon.instance)
        {
            "after the active run".to_owned()
        } else {
            "late".to_owned()
        };
        let _ = writeln!(
            text,
            "NEXT RUN {} ({when}) of {}: {} {}",
            moment(registration.next_at),
            escaped(&daemon.instance),
            escaped(&registration.schedule),
            escaped(&registration.timezone)
        );
    }
    for note in &status.notes {
        let _ = writeln!(text, "note: {}", escaped(note));
    }
    let _ = writeln!(text, "as of {}", moment(status.at));
    // Text from the database must not contain terminal control characters.
    text.replace(|letter: char| is_hidden(letter) && letter != '\n', " ")
}

fn runs(status: &Status) -> String {
    if status.runs.is_empty() {
        return if status.history { "no run yet\n\n".to_owned() } else { String::new() };
    }
    let rows: Vec<Vec<String>> = status.runs.iter().map(run).collect();
    let head = ["STARTED", "TRIGGER", "OUTCOME", "DELETED", "TIME", "INSTANCE", "WHY"];
    let mut text = String::new();
    for line in columns(head, [true, true, true, false, false, true, true], &rows).lines() {
        let _ = writeln!(text, "{}", cut(line));
    }
    text.push('\n');
    text
}

fn run(run: &RunStatus) -> Vec<String> {
    let due = run.due.filter(|due| *due > 0 && run.is_running());
    let of =
        due.map(|due| format!(" of {}{}", grouped(due), if run.due_capped { "+" } else { "" }));
    vec![
        moment(run.started_at),
        run.trigger.clone(),
        run.outcome.as_str().to_owned(),
        format!("{}{}", grouped(run.deleted), of.unwrap_or_default()),
        time(run.elapsed_ms),
        escaped(&run.instance),
        escaped(&run.why),
    ]
}

fn backlog(status: &Status) -> String {
    if status.targets.is_empty() {
        return String::new();
    }
    let rows: Vec<Vec<String>> =
        status.targets.iter().flat_map(|target| snapshot(target, status.at)).collect();
    let mut text =
        columns(["BACKLOG", "REASON", "DUE", "OLDEST FELL DUE"], [true, true, false, true], &rows);
    text.push('\n');
    for target in &status.targets {
        if let Some(why) = &target.not_counted {
            let _ = writeln!(text, "{} was not counted: {why}", target.target);
        }
    }
    if status.targets.iter().any(|target| target.not_counted.is_some()) {
        text.push('\n');
    }
    text
}

fn snapshot(target: &BacklogSnapshot, now: DateTime<Utc>) -> Vec<Vec<String>> {
    if target.due.is_empty() {
        return vec![vec![
            target.target.clone(),
            "not counted".to_owned(),
            String::new(),
            String::new(),
        ]];
    }
    let line = |(index, reason): (usize, &reaper::ReasonBacklog)| {
        let oldest = reason
            .oldest_due
            .map(|oldest| format!("{} ({} ago)", moment(oldest), age(now, oldest)));
        vec![
            if index == 0 { target.target.clone() } else { String::new() },
            reason.reason.clone(),
            format!("{}{}", grouped(reason.rows), if reason.capped { "+" } else { "" }),
            oldest.unwrap_or_default(),
        ]
    };
    target.due.iter().enumerate().map(line).collect()
}

fn moment(time: DateTime<Utc>) -> String {
    reaper::time::text(time)
}

/// Returns the difference between two times in its two largest units, such as hours and minutes.
fn age(later: DateTime<Utc>, earlier: DateTime<Utc>) -> String {
    let seconds = (later - earlier).num_seconds().max(0);
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m {}s", seconds % 60),
        (0, _, _) => format!("{hours}h {minutes}m"),
        _ => format!("{days}d {hours}h"),
    }
}

fn cut(line: &str) -> String {
    if line.chars().count() <= WIDTH {
        return line.to_owned();
    }
    line.chars().take(WIDTH - 1).chain(['…']).collect()
}
