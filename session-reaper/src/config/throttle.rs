//! Throttle options of a run: the conditions under which it waits.

use std::time::Duration;

use super::HOUR;
use super::values::{ConfigErrors, DurationRange, given};
use crate::cli::RunOptions;
use reaper::defaults::{MAX_REPLICA_LAG, MAX_THROTTLE};
use reaper::{ReplicaLimit, ThrottleLimits};

pub(super) fn limits(options: &RunOptions, config_errors: &mut ConfigErrors) -> ThrottleLimits {
    let longest = DurationRange {
        least: Duration::ZERO,
        most: 24 * HOUR,
        because: "a run that waits for longer looks hung",
    };
    let active = "leave it unset for no limit";
    let active = config_errors.whole(
        "MAX_ACTIVE_BACKENDS",
        options.max_active_backends.as_ref(),
        0..=1_000_000,
        active,
    );
    let vacuum = &[("on", true), ("off", false)];
    ThrottleLimits {
        replicas: replicas(options, config_errors),
        max_active: active.and_then(|count| u32::try_from(count).ok()),
        vacuum: config_errors.choice(
            "WAIT_FOR_VACUUM",
            options.wait_for_vacuum.as_ref(),
            false,
            vacuum,
        ),
        query: given(options.throttle_query.as_ref()).map(str::to_owned),
        longest_wait: config_errors.duration(
            "MAX_THROTTLE",
            options.max_throttle.as_ref(),
            MAX_THROTTLE,
            &longest,
        ),
    }
}

fn replicas(options: &RunOptions, config_errors: &mut ConfigErrors) -> Option<ReplicaLimit> {
    let lag = given(options.max_replica_lag.as_ref());
    let names = given(options.replicas.as_ref()).unwrap_or_default().split(',').map(str::trim);
    let names: Vec<String> = names.filter(|name| !name.is_empty()).map(str::to_owned).collect();
    let query = given(options.replica_lag_query.as_ref()).map(str::to_owned);
    if let Some(query) = query.as_ref().filter(|_| !names.is_empty()) {
        config_errors.add(
            "REPLICA_LAG_QUERY",
            query,
            "set together with REPLICAS: leave one of them out",
        );
    }
    if lag == Some("off") {
        if let Some(query) = &query {
            config_errors.add(
                "REPLICA_LAG_QUERY",
                query,
                "set together with MAX_REPLICA_LAG=off: leave one of them out",
            );
        }
        if !names.is_empty() {
            config_errors.add(
                "REPLICAS",
                &names.join(","),
                "set together with MAX_REPLICA_LAG=off: leave one of them out",
            );
        }
        return None;
    }
    let range = DurationRange {
        least: Duration::from_millis(100),
        most: 24 * HOUR,
        because: "off lets replicas lag by any amount; the lag is measured once per second",
    };
    let asked_for = lag.is_some() || !names.is_empty() || query.is_some();
    let lag = config_errors.duration(
        "MAX_REPLICA_LAG",
        options.max_replica_lag.as_ref(),
        MAX_REPLICA_LAG,
        &range,
    );
    Some(ReplicaLimit { lag, asked_for, names, query })
}
