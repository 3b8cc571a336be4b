//! Runs bench-api briefly. Checks that there are results, but does not check the measured values.

use bench::api::endpoints::{Endpoint, Side};
use bench::api::introspection::Step;
use bench::api::refusals::{Carrier, Reason};
use bench::api::{Options, Results, measure};
use clap::Parser as _;
use testkit::{Database, Redis, binary};

async fn measured(what: &[&str]) -> Results {
    let beside = Database::empty().await;
    let (url, redis, api) =
        (beside.url(), Redis::shared_url(), binary("auth-api").display().to_string());
    let stores = ["bench-api", "--database-url", &url, "--redis-url", &redis, "--auth-api", &api];
    let results = measure(&Options::parse_from(stores.iter().chain(what))).await.unwrap();
    let left: i64 = beside
        .client()
        .await
        .query_one(
            "SELECT count(*) FROM pg_database WHERE shobj_description(oid, 'pg_database') = $1",
            &[&format!("made by a bench beside {}", beside.name())],
        )
        .await
        .unwrap()
        .get(0);
    assert_eq!(left, 0, "some databases were not dropped");
    results
}

/// Returns the numeric cells of the table row that begins with this name.
fn cells(shown: &str, name: &str) -> Vec<f64> {
    let line = shown.lines().find(|line| line.starts_with(&format!("| {name} |")));
    let line = line.unwrap_or_else(|| panic!("no {name}:\n{shown}"));
    line.trim_matches('|').split('|').skip(1).filter_map(|cell| cell.trim().parse().ok()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn look_ups_are_counted_in_auth_api_and_timed_in_process_beside_redis_benchmark() {
    let results = measured(
        &[
            ["denylist", "--rounds", "1", "--seconds", "5", "--connections", "4"].as_slice(),
            &["--rate", "100", "--logins", "20", "--look-ups", "100", "--requests", "1000"],
        ]
        .concat(),
    )
    .await;
    assert!(results.refusals.is_none() && results.introspection.is_none());
    let denylist = results.denylist.as_ref().unwrap();
    let [round] = denylist.rounds.as_slice() else { panic!("{denylist:?}") };
    let traffic = round.traffic;
    // The number of look-ups may differ from the number of requests: on a slow machine, the
    // look-ups of some requests happen after the measured time.
    assert!(traffic.auth_api.count > 0 && traffic.requests.count > 0, "{round:?}");
    assert!(traffic.in_process.count > 0 && traffic.logins.count > 0, "{round:?}");
    assert!(
        round.redis.iter().all(|commands| commands.p50 > 0.0 && commands.rate > 0.0),
        "{round:?}"
    );

    let shown = results.to_string();
    for (name, values) in [
        ("look-up in auth-api", 5),
        ("look-up in process", 5),
        ("GET /auth/session", 3),
        ("login", 3),
        ("redis-benchmark", 4),
    ] {
        assert_eq!(cells(&shown, name).len(), values, "{name}:\n{shown}");
    }
    assert_eq!(shown.matches(", met").count() + shown.matches(", MISSED").count(), 6, "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whole_introspections_are_measured_step_by_step() {
    let results = measured(
        &[
            ["introspection", "--rounds", "1", "--introspection-seconds", "1"].as_slice(),
            &["--introspection-connections", "2"],
        ]
        .concat(),
    )
    .await;
    let introspection = results.introspection.as_ref().unwrap();
    let steps: Vec<Step> = introspection.measured.iter().map(|one| one.step).collect();
    assert_eq!(steps, Step::ALL.map(|(step, _)| step));
    for one in &introspection.measured {
        assert!(one.rate > 0.0 && 0.0 < one.p50 && one.p50 <= one.p99 && one.busy > 0.0, "{one:?}");
    }
    assert!(introspection.check > 0.0);
    assert_eq!(cells(&results.to_string(), "introspect an access token").len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_reason_is_refused_as_often_as_the_others_and_judged_by_the_medians() {
    let results =
        measured(&["refusals", "--tries", "40", "--credentials", "3", "--others", "100"]).await;
    assert!(results.denylist.is_none());
    let refused = &results.refusals.as_ref().unwrap().refused;
    assert_eq!(refused.iter().map(|one| one.carrier).collect::<Vec<_>>(), Carrier::ALL);
    for one in refused {
        assert_eq!(one.lines.iter().map(|line| line.reason).collect::<Vec<_>>(), Reason::ALL);
        for line in &one.lines {
            let [lower, median, upper] = line.quartiles;
            assert_eq!(line.count, 40);
            assert!(0.0 < lower && lower <= median && median <= upper, "{line:?}");
        }
        let (quickest, slowest, apart, _) = one.furthest().unwrap();
        assert!(quickest != Reason::Forged && slowest != Reason::Forged && apart >= 0.0);
    }
    let shown = results.to_string();
    assert_eq!(shown.matches(", met").count() + shown.matches(", MISSED").count(), 2, "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_endpoint_is_measured_beside_another_program() {
    let earlier = binary("auth-api").display().to_string();
    let few = ["--endpoint-seconds", "1", "--endpoint-connections", "2"];
    let results = measured(
        &[["endpoints", "--rounds", "1", "--against", &earlier].as_slice(), &few].concat(),
    )
    .await;
    let endpoints = results.endpoints.as_ref().unwrap();
    for endpoint in Endpoint::ALL {
        for side in [Side::Before, Side::Since] {
            assert!(
                endpoints.median(side, endpoint, |one| one.rate).unwrap() > 0.0,
                "{endpoints:?}"
            );
        }
        assert!(endpoints.ratio(endpoint, |one| one.rate).unwrap() > 0.0, "{endpoints:?}");
    }
    let shown = results.to_string();
    assert_eq!(cells(&shown, "POST /auth/refresh").len(), 6, "{shown}");
}
