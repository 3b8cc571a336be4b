//! Clients that use more than their share of connections ([`connections`]), of reads and log lines
//! ([`reads`]), and of new accounts ([`accounts`]). The attacker and the victim are on two
//! networks.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test fails by panicking")]

mod accounts;
mod connections;
mod reads;

use testkit::Answer;

fn field<'a>(answer: &'a Answer, name: &str) -> &'a str {
    answer.headers.get(name).unwrap_or_else(|| panic!("no {name}: {answer:?}")).to_str().unwrap()
}

/// Returns the policies that counted a request, each with the remaining quota.
fn left(answer: &Answer) -> Vec<(&str, u64)> {
    let items = field(answer, "ratelimit").split(", ").map(|item| {
        let (name, rest) = item.split_once(";r=").unwrap();
        (name.trim_matches('"'), rest.split(';').next().unwrap().parse().unwrap())
    });
    items.collect()
}

/// Asserts that a response has the status 429, because the quota of this policy is used up, and has
/// consistent header fields.
#[track_caller]
fn is_limited_by(answer: &Answer, policy: &str) {
    answer.is_problem(429, "rate_limited");
    assert_eq!(left(answer).pop(), Some((policy, 0)), "{answer:?}");
    assert!(
        field(answer, "ratelimit").ends_with(&format!(";t={}", field(answer, "retry-after"))),
        "{answer:?}"
    );
}

#[track_caller]
fn is_number(found: f64, expected: f64) {
    assert!((found - expected).abs() < f64::EPSILON, "{found} instead of {expected}");
}
