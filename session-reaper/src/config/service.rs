//! Options of the daemon: the schedule, the operations port and the service manager.

use std::net::SocketAddr;
use std::time::Duration;

use hardening::ops_hosts::OpsHosts;

use super::MINUTE;
use super::defaults::{OPS_BIND, SCHEDULE, TIMEZONE};
use super::file_settings::Overridden;
use super::run_options::{Consent, Loaded, load};
use super::values::{ConfigErrors, DurationRange, given};
use crate::cli::Daemon;
use crate::clock;
use crate::notify::Supervisor;
use crate::schedule::Schedule;
use reaper::Sweep;

const DAY: Duration = Duration::from_hours(24);

/// The settings of a daemon: its runs, its schedule and its operations port.
#[derive(Debug)]
pub struct Service {
    /// The settings of each run.
    pub sweep: Sweep,
    /// The settings in the file that have no effect, because a flag or a variable overrides them.
    pub overridden: Vec<Overridden>,
    /// When to run.
    pub schedule: Schedule,
    /// Maximum random delay before each run; shorter than the shortest interval of the schedule.
    pub jitter: Duration,
    /// Address of the operations port.
    pub ops_bind: SocketAddr,
    /// Host names that the operations port accepts.
    pub ops_hosts: OpsHosts,
    /// The service manager to notify, if there is one.
    pub supervisor: Option<Supervisor>,
}

pub(super) fn service(options: &Daemon, config_errors: &mut ConfigErrors) -> Option<Service> {
    let schedule = schedule(options, config_errors);
    let jitter = jitter(options, schedule.as_ref(), config_errors);
    let ops_bind = match given(options.ops_bind.as_ref()).map(|text| (text, text.parse())) {
        None => OPS_BIND,
        Some((_, Ok(address))) => address,
        Some((text, Err(_))) => {
            config_errors.add(
                "OPS_BIND",
                text,
                format!("must be an address and a port, such as {OPS_BIND}"),
            );
            OPS_BIND
        }
    };
    let ops_hosts = ops_hosts(options, config_errors);
    let consent = Consent { force_unsafe: options.force_unsafe, yes: false };
    let Loaded { sweep, overridden } =
        load(&options.common, &options.run_options, consent, config_errors)?;
    Some(Service {
        sweep,
        overridden,
        schedule: schedule?,
        jitter,
        ops_bind,
        ops_hosts,
        supervisor: supervisor(),
    })
}

fn ops_hosts(options: &Daemon, config_errors: &mut ConfigErrors) -> OpsHosts {
    let text = given(options.ops_hosts.as_ref()).unwrap_or_default();
    OpsHosts::parse(text).unwrap_or_else(|error| {
        config_errors.add("OPS_HOSTS", text, error.to_string());
        OpsHosts::default()
    })
}

fn schedule(options: &Daemon, config_errors: &mut ConfigErrors) -> Option<Schedule> {
    let zone = given(options.timezone.as_ref()).unwrap_or(TIMEZONE);
    let zone = zone.parse::<chrono_tz::Tz>().map_err(|_| {
        config_errors.add(
            "TIMEZONE",
            zone,
            "must be the name of an IANA time zone, such as UTC or Europe/Berlin",
        );
    });
    let cron = given(options.schedule.as_ref()).unwrap_or(SCHEDULE);
    Schedule::new(cron, zone.unwrap_or(chrono_tz::UTC))
        .map_err(|why| {
            config_errors.add(
                "SCHEDULE",
                cron,
                format!("must be five crontab(5) fields, such as {SCHEDULE} ({why})"),
            );
        })
        .ok()
}

fn jitter(
    options: &Daemon,
    schedule: Option<&Schedule>,
    config_errors: &mut ConfigErrors,
) -> Duration {
    let given_jitter = options.jitter.as_ref();
    let (Some(text), before) = (given(given_jitter), config_errors.count()) else {
        return Duration::ZERO;
    };
    let range = DurationRange {
        least: Duration::ZERO,
        most: DAY,
        because: "a longer delay is not needed to spread out the instances",
    };
    let jitter = config_errors.duration("JITTER", given_jitter, MINUTE, &range);
    let Some(schedule) = schedule.filter(|_| config_errors.count() == before) else {
        return Duration::ZERO;
    };
    let shortest = schedule.gaps(clock::now()).shortest;
    if jitter >= shortest {
        let gap = humantime::format_duration(shortest);
        config_errors.add(
            "JITTER",
            text,
            format!("must be shorter than {gap}, the shortest time between two runs of SCHEDULE"),
        );
    }
    jitter
}

/// Returns the service manager, if it has set `NOTIFY_SOCKET`. Reads the watchdog timeout from
/// `WATCHDOG_USEC`, provided that `WATCHDOG_PID` is absent or names this process.
fn supervisor() -> Option<Supervisor> {
    let listens = std::env::var_os("NOTIFY_SOCKET").is_some_and(|socket| !socket.is_empty());
    let watchdog = || sd_notify::watchdog_enabled().filter(|watchdog| !watchdog.is_zero());
    listens.then(|| Supervisor { watchdog: watchdog() })
}
