//! Limits the number of connections to the API port, in total and for each network, and chooses the
//! connection to close when there are too many.
//!
//! There is a maximum number of connections for each network, its *share*, and for the port. HTTP
//! clients expect that a connection without a request in progress can be closed at any time (RFC
//! 9112 §9.6). To make room for a new connection, the one that has been idle longest is therefore
//! closed: a connection of the same network if that network has reached its share, or of any
//! network if the port is nearly full. Connections with a request in progress are never closed
//! here.
//!
//! The registry contains no file descriptors. To close a connection, it signals the task that
//! watches the connection ([`bounds`](super::bounds)). That task owns a duplicate of the socket, so
//! it can never shut down a descriptor that was closed and reused for another connection.

mod table;

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ::metrics::gauge;
use tokio::sync::watch;

pub(super) use self::table::Progress;
use self::table::{Capacity, Entered, Table};
use super::client::is_near;
use crate::config::{Bounds, TrustedProxies};
use crate::limits::narrowest_network;
use crate::metrics::{self, Closed};
use crate::repeats::{Kind, Repeats};

/// All connections of the API port.
pub struct Connections {
    capacity: Capacity,
    /// Whether the limit for each network also applies to trusted proxies and private networks.
    share_of_all: bool,
    trusted: TrustedProxies,
    table: Mutex<Table>,
}

/// The entry of a connection in the registry. Dropping this value removes the entry.
pub(super) struct Place {
    connections: Arc<Connections>,
    id: u64,
}

impl Connections {
    /// Creates an empty registry.
    #[must_use]
    pub fn new(bounds: &Bounds, trusted: TrustedProxies) -> Self {
        let most = bounds.connections;
        // A twentieth of the connections stays free, so that a new connection need not wait until a
        // closed connection has been removed.
        let room = most - (most / 20).max(1);
        let capacity = Capacity { most, room, share: bounds.network_share() };
        let share_of_all = bounds.connections_per_network.is_some();
        Self { capacity, share_of_all, trusted, table: Mutex::default() }
    }

    /// Registers a new connection. Returns `Err` if the connection exceeds a limit and no other
    /// connection can be closed. The caller must then close the connection immediately.
    pub(super) fn enter(
        self: &Arc<Self>,
        peer: IpAddr,
        progress: Arc<watch::Sender<Progress>>,
        repeats: &Repeats,
    ) -> Result<Place, Place> {
        let peer = peer.to_canonical();
        let counted = self.share_of_all || !(is_near(peer) || self.trusted.contain(peer));
        let network: Option<Arc<str>> = counted.then(|| narrowest_network(peer).into());
        let (id, entered) = self.table().enter(network.clone(), progress, self.capacity);
        self.report_entry(&entered, network.as_deref(), repeats);
        let place = Place { connections: Arc::clone(self), id };
        if entered.refused { Err(place) } else { Ok(place) }
    }

    fn report_entry(&self, entered: &Entered, network: Option<&str>, repeats: &Repeats) {
        Closed::Refused.count(entered.refused.into());
        Closed::Network.count(entered.closed_of_network);
        Closed::Port.count(entered.closed_of_port);
        if let Some(network) = network.filter(|_| entered.refused || entered.closed_of_network > 0)
        {
            let reason = if entered.refused { Closed::Refused } else { Closed::Network }.as_str();
            if repeats.is_first(Kind::Connection { reason }, network) {
                tracing::warn!(
                    event = "network_connections_full",
                    reason,
                    network,
                    most = self.capacity.share,
                    "connection limit of a network reached"
                );
            }
        }
        if let Some((network, largest)) = &entered.half {
            tracing::warn!(
                event = "connections_half",
                most = self.capacity.most,
                network = network.as_deref(),
                of_network = largest,
                "half of the connection limit reached"
            );
        }
    }

    fn close_longest_idle(&self) {
        let closed = self.table().close_longest_idle(self.capacity.room, None);
        Closed::Port.count(closed);
    }

    /// Updates the gauges.
    pub fn report(&self) {
        let (open, idle) = self.table().count();
        for (state, connections) in [("idle", idle), ("busy", open - idle)] {
            gauge!(metrics::CONNECTIONS, "state" => state).set(in_gauge(connections));
        }
        gauge!(metrics::CONNECTIONS_MAX).set(in_gauge(self.capacity.most));
        gauge!(metrics::CONNECTIONS_MAX_NETWORK).set(in_gauge(self.capacity.share));
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[allow(clippy::cast_precision_loss, reason = "there are at most a million")]
fn in_gauge(connections: usize) -> f64 {
    connections as f64
}

impl Place {
    /// Records that a request begins. Returns `false` if the connection is being closed. In that
    /// case, the request must not be executed.
    pub(super) fn begin(&self) -> bool {
        self.connections.table().begin(self.id)
    }

    /// Records that no request is in progress on the connection anymore.
    pub(super) fn end(&self) {
        self.connections.table().end(self.id);
        self.connections.close_longest_idle();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connections.table().leave(self.id, self.connections.capacity);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connections(most: usize, share: Option<usize>) -> Arc<Connections> {
        let bounds =
            Bounds { connections: most, connections_per_network: share, ..Bounds::default() };
        Arc::new(Connections::new(&bounds, TrustedProxies::parse("203.0.113.9").unwrap()))
    }

    /// Registers a connection, and returns it with the progress that its watcher sees.
    fn enter(
        to: &Arc<Connections>,
        peer: &str,
    ) -> (Result<Place, Place>, watch::Receiver<Progress>) {
        let (progress, seen) = watch::channel(Progress::default());
        (to.enter(peer.parse().unwrap(), Arc::new(progress), &Repeats::default()), seen)
    }

    fn open(of: &Arc<Connections>) -> usize {
        of.table().count().0
    }

    #[test]
    fn a_full_network_loses_its_longest_idle_connection() {
        let all = connections(100, Some(2));
        let (first, first_seen) = enter(&all, "2001:db8::1");
        let (second, second_seen) = enter(&all, "2001:db8::2");
        let (other, other_seen) = enter(&all, "2001:db8:0:1::1");
        // The first connection was used most recently.
        let first = first.ok().unwrap();
        assert!(first.begin());
        first.end();
        let (third, _) = enter(&all, "2001:db8::3");
        assert!(third.is_ok() && second_seen.borrow().closing);
        assert!(!first_seen.borrow().closing && !other_seen.borrow().closing);
        assert!(
            !second.ok().unwrap().begin(),
            "a request began on a connection that is being closed"
        );
        assert_eq!(open(&all), 3);
        drop((first, third, other));
        assert!(all.table().is_empty());
    }

    #[test]
    fn a_network_without_idle_connections_is_limited_to_its_share() {
        let all = connections(100, Some(1));
        let (busy, busy_seen) = enter(&all, "198.51.100.1");
        let busy = busy.ok().unwrap();
        assert!(busy.begin());
        let (refused, _) = enter(&all, "198.51.100.1");
        assert!(!refused.err().unwrap().begin());
        assert!(!busy_seen.borrow().closing);
        assert!(enter(&all, "198.51.100.2").0.is_ok());
        busy.end();
        assert!(enter(&all, "198.51.100.1").0.is_ok());
        assert!(busy_seen.borrow().closing);
    }

    #[test]
    fn proxies_and_private_networks_have_no_share_by_default() {
        for peer in [
            "127.0.0.1",
            "10.1.2.3",
            "169.254.1.1",
            "::1",
            "fd00::1",
            "::ffff:192.168.0.1",
            "203.0.113.9",
        ] {
            let (default, set) = (connections(20, None), connections(20, Some(2)));
            let free: Vec<_> = (0..5).map(|_| enter(&default, peer)).collect();
            assert!(free.iter().all(|(_, seen)| !seen.borrow().closing), "{peer}");
            let bound: Vec<_> = (0..5).map(|_| enter(&set, peer)).collect();
            assert_eq!(bound.iter().filter(|(_, seen)| seen.borrow().closing).count(), 3, "{peer}");
        }
        let default = connections(20, None);
        let bound: Vec<_> = (0..5).map(|_| enter(&default, "198.51.100.1")).collect();
        assert_eq!(
            bound.iter().filter(|(_, seen)| seen.borrow().closing).count(),
            3,
            "the default share is a tenth"
        );
    }

    #[test]
    fn a_full_port_loses_its_longest_idle_connection() {
        let all = connections(3, None);
        let (busy, _) = enter(&all, "127.0.0.1");
        let busy = busy.ok().unwrap();
        assert!(busy.begin());
        let (_second, second_seen) = enter(&all, "127.0.0.1");
        let (third, third_seen) = enter(&all, "127.0.0.1");
        assert!(second_seen.borrow().closing && !third_seen.borrow().closing);
        let third = third.ok().unwrap();
        assert!(third.begin());
        // Only the new connection is idle, and it is not closed.
        let (fourth, fourth_seen) = enter(&all, "127.0.0.1");
        assert!(fourth.is_ok() && !fourth_seen.borrow().closing);
        assert!(fourth.ok().unwrap().begin());
        busy.end();
    }

    #[test]
    fn half_full_is_reported_once_for_each_crossing() {
        let all = connections(10, Some(10));
        let half = |places: &mut Vec<Result<Place, Place>>, number: usize| {
            let entered = (0..number).map(|_| {
                let (progress, _) = watch::channel(Progress::default());
                let (id, entered) =
                    all.table().enter(Some("n".into()), Arc::new(progress), all.capacity);
                places.push(Ok(Place { connections: Arc::clone(&all), id }));
                entered.half
            });
            entered.flatten().collect::<Vec<_>>()
        };
        let mut places = Vec::new();
        assert_eq!(half(&mut places, 8), [(Some("n".into()), 5)]);
        places.truncate(4);
        assert_eq!(half(&mut places, 4), []);
        places.truncate(3);
        assert_eq!(half(&mut places, 4).len(), 1);
    }
}
