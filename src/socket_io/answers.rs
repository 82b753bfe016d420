//! Acknowledgements that are pending: of events to one socket ([`Acks`]), and of broadcasts ([`Collection`]).
//!
//! An event that wants an acknowledgement carries a number, and the acknowledgement repeats it:
//!
//! ```text
//!   server   21["question","…"]    to one socket       Acks: socket and 1 ──▶ callback
//!   client   31["an answer"]
//!
//!   server   22["vote"]            to three sockets    Collection: a, b, c are expected
//!   client   32["yes"]                                 b: "yes";  a, c are missing
//! ```
//!
//! A client may acknowledge anything, at any time and twice. An acknowledgement that is not expected is not found.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use super::socket_id::SocketId;

/// The pending acknowledgements of all sockets of a namespace. `S` names a socket, `F` is what an acknowledgement
/// calls.
///
/// A socket without pending acknowledgements costs nothing. The number of pending ones is not limited here: those of a
/// client that does not answer stay until their deadline, or until the socket closes.
#[derive(Debug)]
pub struct Acks<S, F> {
    next_id: u64,
    pending: BTreeMap<(S, u64), Pending<F>>,
    /// The deadlines in `pending`.
    deadlines: BTreeSet<(Instant, u64, S)>,
}

#[derive(Debug)]
struct Pending<F> {
    callback: F,
    deadline: Option<Instant>,
}

impl<S, F> Default for Acks<S, F> {
    fn default() -> Acks<S, F> {
        Acks { next_id: 0, pending: BTreeMap::new(), deadlines: BTreeSet::new() }
    }
}

impl<S: Copy + Ord, F> Acks<S, F> {
    /// A number for a packet that wants acknowledgements. No number is given twice in a namespace, so that those of a
    /// broadcast and those of one socket differ.
    pub fn new_id(&mut self) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        id
    }

    /// Adds an acknowledgement that a socket is to send. Returns the number for the packet.
    pub fn insert(&mut self, socket: S, deadline: Option<Instant>, callback: F) -> u64 {
        let id = self.new_id();
        self.pending.insert((socket, id), Pending { callback, deadline });
        self.deadlines.extend(deadline.map(|deadline| (deadline, id, socket)));
        id
    }

    /// Takes the callback of an acknowledgement that a socket sent. `None`: the socket was not asked, has answered
    /// already, or answers after the deadline.
    pub fn take(&mut self, socket: S, id: u64) -> Option<F> {
        let Pending { callback, deadline } = self.pending.remove(&(socket, id))?;
        if let Some(deadline) = deadline {
            self.deadlines.remove(&(deadline, id, socket));
        }
        Some(callback)
    }

    /// Takes all callbacks whose deadline is not after `now`: by their deadlines, and at the same deadline by their
    /// numbers.
    pub fn expired(&mut self, now: Instant) -> Vec<(S, F)> {
        let mut expired = Vec::new();
        while let Some(&(deadline, id, socket)) = self.deadlines.first() {
            if deadline > now {
                break;
            }
            expired.extend(self.take(socket, id).map(|callback| (socket, callback)));
        }
        expired
    }

    /// The earliest deadline.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(deadline, ..)| *deadline)
    }

    /// Takes all callbacks of a socket that closes, by their numbers.
    pub fn drain(&mut self, socket: S) -> Vec<F> {
        let mut drained = Vec::new();
        while let Some((&(_, id), _)) = self.pending.range((socket, 0)..=(socket, u64::MAX)).next() {
            drained.extend(self.take(socket, id));
        }
        drained
    }

    /// Takes the callbacks of a socket whose numbers `is_lost` returns `true` for, by their numbers.
    pub fn drain_where(&mut self, socket: S, mut is_lost: impl FnMut(u64) -> bool) -> Vec<F> {
        let numbers = self.pending.range((socket, 0)..=(socket, u64::MAX)).map(|(&(_, id), _)| id);
        let lost: Vec<u64> = numbers.filter(|id| is_lost(*id)).collect();
        lost.into_iter().filter_map(|id| self.take(socket, id)).collect()
    }

    /// How many acknowledgements are pending.
    pub fn len(&self) -> usize {
        self.pending.len()
    }

    /// Whether none is pending.
    pub fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }
}

/// The answers to a broadcast that wants acknowledgements. `S` names a socket, `A` is an answer.
///
/// It knows the sockets of this node, so that a program can see which ones answered. Other nodes tell only how many
/// sockets received the packet, and then the answers.
#[derive(Debug)]
pub struct Collection<S, A> {
    /// The sockets of this node that have not answered.
    waiting: BTreeMap<S, SocketId>,
    /// Those that closed before they answered.
    gone: Vec<SocketId>,
    answers: Vec<Answer<A>>,
    /// How many other nodes will report. `None`: not known yet.
    nodes: Option<usize>,
    /// How many did.
    reported: usize,
    /// How many sockets they reported.
    remote_sockets: usize,
    remote_answers: usize,
}

/// An answer to a broadcast.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer<A> {
    /// The socket that answered. `None`: a socket of another node.
    pub from: Option<SocketId>,
    /// The value that it sent.
    pub value: A,
}

impl<S: Copy + Ord, A> Collection<S, A> {
    /// Expects an answer of each of these sockets, and of no other node.
    pub fn new(sockets: impl IntoIterator<Item = (S, SocketId)>) -> Collection<S, A> {
        Collection {
            waiting: sockets.into_iter().collect(),
            gone: Vec::new(),
            answers: Vec::new(),
            nodes: Some(0),
            reported: 0,
            remote_sockets: 0,
            remote_answers: 0,
        }
    }

    /// The same for a broadcast that other nodes send, too. It is not settled before
    /// [`expect_nodes`](Self::expect_nodes).
    pub fn with_other_nodes(sockets: impl IntoIterator<Item = (S, SocketId)>) -> Collection<S, A> {
        Collection { nodes: None, ..Collection::new(sockets) }
    }

    /// Adds an answer of a socket. `false`: the socket was not asked, or has answered already, and nothing changes.
    pub fn answer(&mut self, socket: S, value: A) -> bool {
        let id = self.waiting.remove(&socket);
        let is_expected = id.is_some();
        self.answers.extend(id.map(|id| Answer { from: Some(id), value }));
        is_expected
    }

    /// A socket closed. If it has not answered, it will not.
    pub fn close(&mut self, socket: S) {
        self.gone.extend(self.waiting.remove(&socket));
    }

    /// How many other nodes sent the packet to their sockets. Each will report.
    pub fn expect_nodes(&mut self, count: usize) {
        self.nodes = Some(count);
    }

    /// Another node reports that it sent the packet to so many sockets.
    pub fn node_reported(&mut self, sockets: usize) {
        self.reported += 1;
        self.remote_sockets = self.remote_sockets.saturating_add(sockets);
    }

    /// Adds an answer of a socket of another node. It may arrive before the node's report.
    pub fn node_answered(&mut self, value: A) {
        self.remote_answers += 1;
        self.answers.push(Answer { from: None, value });
    }

    /// Whether no further answer can come: all nodes have reported, and each socket has answered or closed.
    pub fn is_settled(&self) -> bool {
        let are_nodes_settled = self.nodes.is_some_and(|nodes| self.reported >= nodes);
        are_nodes_settled && self.waiting.is_empty() && self.remote_answers >= self.remote_sockets
    }

    /// Whether all sockets have answered.
    pub fn is_complete(&self) -> bool {
        self.is_settled() && self.gone.is_empty()
    }

    /// The sockets of this node that have not answered: those that closed, in that order, then the others by their
    /// handles.
    pub fn missing(&self) -> impl Iterator<Item = &SocketId> {
        self.gone.iter().chain(self.waiting.values())
    }

    /// How many sockets of other nodes are known to have received the packet, and have not answered.
    pub fn missing_on_other_nodes(&self) -> usize {
        self.remote_sockets.saturating_sub(self.remote_answers)
    }

    /// The answers, in the order in which they arrived.
    pub fn answers(&self) -> &[Answer<A>] {
        &self.answers
    }

    /// The same, owned.
    pub fn into_answers(self) -> Vec<Answer<A>> {
        self.answers
    }
}
