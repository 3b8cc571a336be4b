//! The defaults of this program's own settings. The defaults of a run's settings are in
//! [`reaper::defaults`].

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

/// `REAPER_CONFIG`: the configuration file, in the working directory.
pub(super) const CONFIG: &str = "reaper.toml";

/// `SCHEDULE`: every 15 minutes. A run without due rows takes a few milliseconds.
pub(super) const SCHEDULE: &str = "*/15 * * * *";

/// `TIMEZONE`.
pub(super) const TIMEZONE: &str = "UTC";

/// `OPS_BIND`.
pub(super) const OPS_BIND: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9081);

/// `pause --for`.
pub(super) const PAUSE: Duration = Duration::from_hours(1);

/// `status --last`: the number of runs.
pub(super) const LAST_RUNS: i64 = 10;

/// `status --watch` without an interval.
pub(super) const WATCH_INTERVAL: Duration = Duration::from_secs(2);
