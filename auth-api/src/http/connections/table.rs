//! Which connections are open, whose they are, and which have been idle for longest. No sockets and
//! no clock.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use tokio::sync::watch;

/// Requests of a connection until now, and whether it is to end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::http) struct Progress {
    pub(in crate::http) begun: u64,
    pub(in crate::http) ended: u64,
    /// The last answer announced the end of the connection.
    pub(in crate::http) over: bool,
    /// Another connection takes its place.
    pub(in crate::http) closing: bool,
}

/// How many connections there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Capacity {
    /// At the most.
    pub(super) most: usize,
    /// One connection more than this, and an idle one is closed.
    pub(super) room: usize,
    /// Of one network at the most.
    pub(super) share: usize,
}

/// The open connections.
#[derive(Default)]
pub(super) struct Table {
    /// Numbers connections, and the times at which they became idle.
    last: u64,
    open: HashMap<u64, Connection>,
    /// Connections without a request under way, the longest idle one first.
    idle: BTreeMap<u64, u64>,
    networks: HashMap<Arc<str>, Network>,
    /// Half of the connections were taken, and have not been free again since.
    past_half: bool,
}

struct Connection {
    network: Option<Arc<str>>,
    /// Nothing: a request is under way.
    idle_since: Option<u64>,
    progress: Arc<watch::Sender<Progress>>,
}

/// The connections of one network.
#[derive(Default)]
struct Network {
    connections: usize,
    idle: BTreeMap<u64, u64>,
}

/// What a new connection causes.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Entered {
    /// Not let in: its network has its share, and none of it is idle.
    pub(super) refused: bool,
    pub(super) closed_of_network: usize,
    pub(super) closed_of_port: usize,
    /// Half of all are taken now: the network that has most of them, and how many.
    pub(super) half: Option<(Option<Arc<str>>, usize)>,
}

impl Table {
    fn next(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// Takes a connection in and returns its number. It is idle.
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

    /// Closes the longest idle connections until no more than `room` are open or none is idle;
    /// never the one that has just come.
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

    /// Notes that a request begins. `false`: the connection is not open any more.
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

    /// Notes that no request is under way any more.
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

    /// A connection has ended.
    pub(super) fn leave(&mut self, id: u64, capacity: Capacity) {
        drop(self.remove(id));
        // Not at once below the half, so that a number around it is one warning.
        if self.open.len() * 5 < capacity.most * 2 {
            self.past_half = false;
        }
    }

    /// How many there are, and how many of them are idle.
    pub(super) fn count(&self) -> (usize, usize) {
        (self.open.len(), self.idle.len())
    }

    /// Whether nothing is left of any connection.
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
