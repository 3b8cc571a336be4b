//! Tracks which connections are open, to which networks they belong, and which have been idle
//! longest. This module uses no sockets and no clock.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use tokio::sync::watch;

/// The numbers of requests that have begun and ended on a connection, and whether the connection is
/// to be closed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::http) struct Progress {
    pub(in crate::http) begun: u64,
    pub(in crate::http) ended: u64,
    /// `true` if the last response announced that the connection will be closed.
    pub(in crate::http) close_announced: bool,
    /// `true` if the connection is being closed to make room for another connection.
    pub(in crate::http) closing: bool,
}

/// The limits on the number of connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Capacity {
    /// The maximum number of connections.
    pub(super) most: usize,
    /// If more connections than this are open, idle connections are closed.
    pub(super) room: usize,
    /// The maximum number of connections from one network.
    pub(super) share: usize,
}

/// The open connections.
#[derive(Default)]
pub(super) struct Table {
    /// The last number that was assigned. Connections are numbered, and so are the moments at which
    /// a connection becomes idle, so that these moments have an order.
    last: u64,
    open: HashMap<u64, Connection>,
    /// The connections without a request in progress, in the order in which they became idle.
    idle: BTreeMap<u64, u64>,
    networks: HashMap<Arc<str>, Network>,
    /// Becomes `true` when half of the maximum number of connections is open, and `false` when the
    /// number drops well below half.
    past_half: bool,
}

struct Connection {
    network: Option<Arc<str>>,
    /// `None` while a request is in progress.
    idle_since: Option<u64>,
    progress: Arc<watch::Sender<Progress>>,
}

/// The connections of one network.
#[derive(Default)]
struct Network {
    connections: usize,
    idle: BTreeMap<u64, u64>,
}

/// The effects of a new connection.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Entered {
    /// `true` if the connection was rejected because its network has reached its maximum number of
    /// connections and has no idle connection.
    pub(super) refused: bool,
    pub(super) closed_of_network: usize,
    pub(super) closed_of_port: usize,
    /// The network with the most connections, and the number of its connections. Set only if the
    /// new connection is the one that reaches half of the maximum number of connections.
    pub(super) half: Option<(Option<Arc<str>>, usize)>,
}

impl Table {
    fn next(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// Adds a connection, which is idle at first. Returns its number, and the effects of adding it.
    pub(super) fn enter(
        &mut self,
        network: Option<Arc<str>>,
        progress: Arc<watch::Sender<Progress>>,
        capacity: Capacity,
    ) -> (u64, Entered) {
        let (id, mut entered) = (self.next(), Entered::default());
        if let Some(full) = network.as_deref().and_then(|name| self.networks.get(name))
            && full.connections >= capacity.share
        {
            let Some(longest) = full.idle.first_key_value().map(|(_, id)| *id) else {
                return (id, Entered { refused: true, ..entered });
            };
            self.close(longest);
            entered.closed_of_network = 1;
        }
        if let Some(name) = &network {
            self.networks.entry(Arc::clone(name)).or_default().connections += 1;
        }
        self.open.insert(id, Connection { network, idle_since: None, progress });
        self.end(id);
        entered.closed_of_port = self.close_longest_idle(capacity.room, Some(id));
        if !self.past_half && self.open.len() * 2 >= capacity.most {
            self.past_half = true;
            let largest = self.networks.iter().max_by_key(|(_, network)| network.connections);
            entered.half = Some(
                largest.map_or((None, 0), |(name, of)| (Some(Arc::clone(name)), of.connections)),
            );
        }
        (id, entered)
    }

    /// Closes the longest idle connections until at most `room` are open or none is idle. Never
    /// closes `newcomer`. Returns the number of connections that were closed.
    pub(super) fn close_longest_idle(&mut self, room: usize, newcomer: Option<u64>) -> usize {
        let mut closed = 0;
        while self.open.len() > room {
            let Some((_, longest)) = self.idle.first_key_value() else { break };
            let longest = *longest;
            if newcomer == Some(longest) {
                break;
            }
            self.close(longest);
            closed += 1;
        }
        closed
    }

    /// Records that a request begins. Returns `false` if the connection is no longer open.
    pub(super) fn begin(&mut self, id: u64) -> bool {
        let Some(connection) = self.open.get_mut(&id) else { return false };
        if let Some(since) = connection.idle_since.take() {
            self.idle.remove(&since);
            if let Some(network) =
                connection.network.as_ref().and_then(|name| self.networks.get_mut(name))
            {
                network.idle.remove(&since);
            }
        }
        true
    }

    /// Records that no request is in progress on the connection anymore.
    pub(super) fn end(&mut self, id: u64) {
        let since = self.next();
        let Some(connection) = self.open.get_mut(&id) else { return };
        connection.idle_since = Some(since);
        self.idle.insert(since, id);
        if let Some(network) =
            connection.network.as_ref().and_then(|name| self.networks.get_mut(name))
        {
            network.idle.insert(since, id);
        }
    }

    fn close(&mut self, id: u64) {
        if let Some(connection) = self.remove(id) {
            connection.progress.send_modify(|now| now.closing = true);
        }
    }

    /// Removes a connection that has ended.
    pub(super) fn leave(&mut self, id: u64, capacity: Capacity) {
        drop(self.remove(id));
        // Clear the flag only well below half, so that a number that fluctuates around half causes
        // only one warning.
        if self.open.len() * 5 < capacity.most * 2 {
            self.past_half = false;
        }
    }

    /// Returns the number of open connections, and how many of them are idle.
    pub(super) fn count(&self) -> (usize, usize) {
        (self.open.len(), self.idle.len())
    }

    /// Returns `true` if the table contains no connection and no data about earlier ones.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty() && self.idle.is_empty() && self.networks.is_empty()
    }

    fn remove(&mut self, id: u64) -> Option<Connection> {
        self.begin(id);
        let connection = self.open.remove(&id)?;
        if let Some(name) = &connection.network
            && let Some(network) = self.networks.get_mut(name)
        {
            network.connections -= 1;
            if network.connections == 0 {
                self.networks.remove(name);
            }
        }
        Some(connection)
    }
}
