//! What is the daemon's alone: when it runs, where operators look, who supervises it.

use std::net::SocketAddr;
use std::time::Duration;

use hardening::ops_hosts::OpsHosts;

use super::MINUTE;
use super::run_options::{Consent, sweep};
use super::values::{ConfigErrors, DurationRange, given};
use crate::cli::Daemon;
use crate::clock;
use crate::notify::Supervisor;
use crate::schedule::Schedule;
use crate::sweep::Sweep;

/// Every quarter of an hour: a tick that finds nothing costs a few milliseconds.
const SCHEDULE: &str = "*/15 * * * *";

const OPS_BIND: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9081);

const DAY: Duration = Duration::from_hours(24);

/// What a daemon does, and when.
#[derive(Debug)]
pub struct Service {
    /// What to do.
    pub sweep: Sweep,
    /// When.
    pub schedule: Schedule,
    /// A random wait of up to so long before each run; shorter than the schedule's shortest gap.
    pub jitter: Duration,
    /// Where operators look.
    pub ops_bind: SocketAddr,
    /// The hosts that this port answers to.
    pub ops_hosts: OpsHosts,
    /// Who wants to hear how it goes.
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
                format!("an address and a port, such as {OPS_BIND}"),
            );
            OPS_BIND
        }
    };
    let ops_hosts = ops_hosts(options, config_errors);
    let consent = Consent { force_unsafe: options.force_unsafe, yes: false };
    let sweep = sweep(&options.common, &options.run_options, consent, config_errors);
    Some(Service {
        sweep: sweep?,
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
    let zone = given(options.timezone.as_ref()).unwrap_or("UTC");
    let zone = zone.parse::<chrono_tz::Tz>().map_err(|_| {
        config_errors.add(
            "TIMEZONE",
            zone,
            "a name of the IANA time zone database, such as UTC or Europe/Berlin",
        );
    });
    let cron = given(options.schedule.as_ref()).unwrap_or(SCHEDULE);
    Schedule::new(cron, zone.unwrap_or(chrono_tz::UTC))
        .map_err(|why| {
            config_errors.add(
                "SCHEDULE",
                cron,
                format!("five fields as in crontab(5), such as {SCHEDULE} ({why})"),
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
        because: "all instances are spread out well by less",
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
            format!(
                "a duration shorter than {gap}, the shortest time between two runs of SCHEDULE"
            ),
        );
    }
    jitter
}

/// The service manager tells its children by `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID`
/// that it listens.
fn supervisor() -> Option<Supervisor> {
    let listens = std::env::var_os("NOTIFY_SOCKET").is_some_and(|socket| !socket.is_empty());
    let watchdog = || sd_notify::watchdog_enabled().filter(|watchdog| !watchdog.is_zero());
    listens.then(|| Supervisor { watchdog: watchdog() })
}
