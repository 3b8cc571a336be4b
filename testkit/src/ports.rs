use std::collections::hash_map::RandomState;
use std::fs;
use std::hash::BuildHasher as _;
use std::net::TcpListener;

/// The lowest port that tests use.
const LOWEST: u16 = 10_000;
/// The file in which Linux publishes the port range of outgoing connections.
const EPHEMERAL: &str = "/proc/sys/net/ipv4/ip_local_port_range";

/// Returns a free TCP port of 127.0.0.1. The port is below the range from which the system assigns
/// ports to outgoing connections and to listeners on port 0. No such connection or listener can
/// therefore take the port before the test uses it.
#[must_use]
pub fn free_port() -> u16 {
    let range = fs::read_to_string(EPHEMERAL).unwrap();
    let end: u16 = range.split_ascii_whitespace().next().unwrap().parse().unwrap();
    assert!(end > LOWEST, "{EPHEMERAL} leaves no ports between {LOWEST} and {end}");
    loop {
        let port = LOWEST
            + u16::try_from(RandomState::new().hash_one(()) % u64::from(end - LOWEST)).unwrap();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
