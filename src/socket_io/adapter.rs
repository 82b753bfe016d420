//! How operations reach the other nodes of a cluster, and theirs this node.
//!
//! A server delivers to its own sockets itself. Each operation on rooms, on a namespace or on all nodes also goes to
//! the [`Adapter`] of the namespace. It sends the operation to the other nodes, and calls this node for theirs:
//!
//! ```text
//!   io.to("room").emit ──┬──▶ own sockets in the room
//!                        └──▶ adapter.broadcast ──▶ other nodes ──▶ their adapter ──▶ Namespace::receive_broadcast
//! ```
//!
//! The default is [`InMemory`]: there are no other nodes.
//!
//! Source: [Node: adapters](https://socket.io/docs/v4/adapter/).

use std::any::Any;
use std::time::Duration;

use serde_json::Value;

use super::{Namespace, OwnedArguments, RecoveryOptions};
use crate::Loop;

/// The sockets that an operation is for.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Target {
    /// The rooms. Empty: all sockets of the namespace.
    pub rooms: Vec<String>,
    /// Sockets in one of these rooms are left out. A socket is in the room that its id names.
    pub except: Vec<String>,
}

/// An event for the sockets of other nodes.
#[derive(Clone, Copy, Debug)]
pub struct BroadcastPacket<'a> {
    /// The name of the event.
    pub name: &'a str,
    /// Its arguments.
    pub arguments: &'a OwnedArguments,
    /// It may be dropped for sockets that are not ready.
    pub volatile: bool,
    /// It may be compressed for clients that have agreed on it.
    pub compress: bool,
    /// With an adapter that keeps sessions: the last argument of the event, from which a client that comes back is
    /// served. `None`: nothing is kept, or the event is not.
    pub offset: Option<&'a str>,
}

/// A socket of some node, as [`Namespace::fetch_sockets`](super::Namespace::fetch_sockets) reports it.
#[derive(Clone, PartialEq, Debug)]
pub struct RemoteSocket {
    /// The id.
    pub id: String,
    /// The rooms, its own id first.
    pub rooms: Vec<String>,
    /// The request with which the client came, as in Node: `headers`, `query`, `auth`, …
    pub handshake: Value,
    /// The data of the program, as JSON.
    pub data: Value,
}

/// A client that was lost and may come back, on any node.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct LostSession {
    /// The id of its socket.
    pub sid: String,
    /// The secret with which it comes back.
    pub pid: String,
    /// The rooms of its socket, its id first.
    pub rooms: Vec<String>,
    /// The data of the program, as JSON.
    pub data: Value,
}

/// An event that a client has missed.
#[derive(Clone, PartialEq, Debug)]
pub struct MissedEvent {
    /// The name of the event.
    pub name: String,
    /// Its arguments.
    pub arguments: OwnedArguments,
    /// The offset, which is its last argument. `None`: it is not known ([`Placement::Unknown`]).
    pub offset: Option<String>,
}

/// The place of an event among those that an adapter keeps, if the event was sent without an offset.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Placement {
    /// It is before all events that come from now on, or it is not kept.
    Before,
    /// It may be added at any time, until [`Namespace::settle_uncertain`](super::Namespace::settle_uncertain).
    Unknown,
}

/// A client that comes back.
#[derive(Clone, PartialEq, Debug)]
pub struct RestoredSession {
    /// Its state.
    pub session: LostSession,
    /// Events that it has missed, in their order.
    pub missed: Vec<MissedEvent>,
    /// The offset up to which `missed` has them. The others are found when the socket is connected
    /// ([`Adapter::missed_since`]).
    pub since: String,
}

/// What is called with a client that comes back, or with `None` if it cannot be restored.
pub type OnRestored = Box<dyn FnOnce(&mut Loop, Option<RestoredSession>)>;

/// The number of an operation that other nodes answer. It is unique in its namespace.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct RequestId(pub(super) u64);

impl RequestId {
    /// The number.
    pub fn number(self) -> u64 {
        self.0
    }
}

/// Carries operations to the other nodes of a cluster. Each namespace has one of its own.
///
/// Answers of other nodes come back through [`Namespace::answered`](super::Namespace::answered). An operation with a
/// [`RequestId`] is complete when [`nodes`](Adapter::nodes) − 1 answers have come, or its time is over.
///
/// An operation for rooms or for disconnections is applied to the sockets of this node before the adapter gets it.
#[expect(unused_variables, reason = "the names are for implementors")]
pub trait Adapter: Any {
    /// The namespace has this adapter now. Called once, before all other methods.
    #[doc(alias = "init")]
    fn open(&mut self, lp: &mut Loop, namespace: Namespace) {}
    /// How many nodes the cluster has, this one included. `None`: that must be asked for. Then the adapter calls
    /// [`Namespace::expect_nodes`](super::Namespace::expect_nodes) for each operation with a [`RequestId`].
    #[doc(alias = "serverCount")]
    fn nodes(&self) -> Option<usize> {
        Some(1)
    }
    /// An event for sockets of other nodes.
    fn broadcast(&mut self, lp: &mut Loop, namespace: Namespace, target: &Target, packet: BroadcastPacket<'_>) {}
    /// An event whose receivers answer within `timeout`.
    #[doc(alias = "broadcastWithAck")]
    fn broadcast_with_ack(
        &mut self,
        lp: &mut Loop,
        namespace: Namespace,
        target: &Target,
        packet: BroadcastPacket<'_>,
        timeout: Duration,
        request: RequestId,
    ) {
    }
    /// Sockets of other nodes join rooms.
    #[doc(alias = "addSockets")]
    fn sockets_join(&mut self, lp: &mut Loop, namespace: Namespace, target: &Target, rooms: &[String]) {}
    /// Sockets of other nodes leave rooms.
    #[doc(alias = "delSockets")]
    fn sockets_leave(&mut self, lp: &mut Loop, namespace: Namespace, target: &Target, rooms: &[String]) {}
    /// Sockets of other nodes are disconnected, with their connections if `close`.
    #[doc(alias = "disconnectSockets")]
    fn disconnect_sockets(&mut self, lp: &mut Loop, namespace: Namespace, target: &Target, close: bool) {}
    /// The sockets of other nodes are asked for.
    #[doc(alias = "fetchSockets")]
    fn fetch_sockets(&mut self, lp: &mut Loop, namespace: Namespace, target: &Target, request: RequestId) {}
    /// The names of all rooms of other nodes are asked for.
    #[doc(alias = "allRooms")]
    fn all_rooms(&mut self, lp: &mut Loop, namespace: Namespace, request: RequestId) {}
    /// An event for the servers of other nodes. With a request they answer it.
    #[doc(alias = "serverSideEmit")]
    fn server_side_emit(
        &mut self,
        lp: &mut Loop,
        namespace: Namespace,
        name: &str,
        arguments: &OwnedArguments,
        request: Option<RequestId>,
    ) {
    }
    /// Called if the server recovers clients. An adapter that returns `true` keeps their sessions, and the events that
    /// they miss, for all nodes: then nothing is kept in memory.
    ///
    /// [`broadcast`](Self::broadcast) then gets all events that can be missed, also those for a single socket, *before*
    /// they are sent to the sockets of this node. The adapter calls
    /// [`Namespace::receive_broadcast`](super::Namespace::receive_broadcast) for them, with the offset. Volatile
    /// events, and those with acknowledgements, are sent to the sockets of this node as without it.
    fn keep_sessions(&mut self, options: &RecoveryOptions) -> bool {
        false
    }
    /// The offset of the last event that this node has received, from which on nothing is missed.
    fn last_offset(&self, lp: &Loop) -> Option<String> {
        None
    }
    /// A client is lost: its state is kept for some time.
    #[doc(alias = "persistSession")]
    fn persist_session(&mut self, lp: &mut Loop, namespace: Namespace, session: &LostSession, lifetime: Duration) {}
    /// A client comes back with its secret and the offset of the last event that it has received. The state is taken:
    /// it cannot be restored twice. `done` must be called later, not by this method.
    #[doc(alias = "restoreSession")]
    fn restore_session(&mut self, lp: &mut Loop, namespace: Namespace, pid: &str, offset: &str, done: OnRestored) {
        lp.next_tick(|lp| done(lp, None));
    }
    /// The events that this node has received behind an offset, and that are for a socket in these rooms, with those
    /// that it has sent without an offset and whose place is not known yet. `None`: some of them are no longer kept.
    fn missed_since(&self, lp: &Loop, since: &str, rooms: &[String]) -> Option<Vec<MissedEvent>> {
        None
    }
    /// Whether the adapter is to be called when rooms are created and deleted.
    fn watches_rooms(&self) -> bool {
        false
    }
    /// The first socket of this node is in a room. For each socket there is also a room of its id.
    #[doc(alias = "create-room")]
    fn room_created(&mut self, lp: &mut Loop, namespace: Namespace, room: &str) {}
    /// The last socket of this node has left a room.
    #[doc(alias = "delete-room")]
    fn room_deleted(&mut self, lp: &mut Loop, namespace: Namespace, room: &str) {}
    /// The server is closed, the namespace is gone, or it gets another adapter. Called once, behind all other methods.
    /// Nothing of the adapter may remain: neither subscriptions nor timers, which would keep the loop running.
    fn close(&mut self, lp: &mut Loop, namespace: Namespace) {}
}

impl Target {
    /// Whether a socket in these rooms is one of the receivers.
    pub fn includes(&self, rooms: &[String]) -> bool {
        let is_in = |names: &[String]| names.iter().any(|name| rooms.contains(name));
        (self.rooms.is_empty() || is_in(&self.rooms)) && !is_in(&self.except)
    }
}

/// One node: there are no others. The default.
#[derive(Clone, Copy, Debug, Default)]
pub struct InMemory;

impl Adapter for InMemory {}

/// An answer of another node to an operation of this one.
#[derive(Clone, PartialEq, Debug)]
pub enum Answer {
    /// To [`Adapter::fetch_sockets`]: its sockets. To [`Adapter::all_rooms`] it is an answer, too.
    Sockets(Vec<RemoteSocket>),
    /// To [`Adapter::all_rooms`]: the names of its rooms, and the ids of its sockets.
    Rooms(Vec<String>),
    /// To [`Adapter::broadcast_with_ack`]: how many of its sockets have got the event.
    ClientCount(usize),
    /// To [`Adapter::broadcast_with_ack`]: what one of its sockets has answered. Nodes do not tell which.
    Ack(OwnedArguments),
    /// To [`Adapter::server_side_emit`]: what its server has answered.
    Server(Value),
}
