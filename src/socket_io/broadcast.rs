//! Events for many sockets. The packet is encoded once, and each session gets it in one write of the turn.

use std::time::Duration;

use super::adapter::{BroadcastPacket, RemoteSocket, Target};
use super::arguments::IntoArguments;
use super::cluster::with_adapter;
use super::deliver::{Sent, deliver};
use super::registry::select;
use super::send::Flags;
use super::{Answers, Namespace, Socket, acks, encode, sessions};
use crate::Loop;

/// Names of rooms: a string, an id, or several of them.
pub trait RoomNames {
    /// The names.
    fn names(self) -> Vec<String>;
}

impl RoomNames for &str {
    fn names(self) -> Vec<String> {
        vec![self.to_owned()]
    }
}

impl RoomNames for String {
    fn names(self) -> Vec<String> {
        vec![self]
    }
}

impl RoomNames for &String {
    fn names(self) -> Vec<String> {
        vec![self.clone()]
    }
}

impl RoomNames for super::socket_id::SocketId {
    fn names(self) -> Vec<String> {
        vec![self.to_string()]
    }
}

impl<S: AsRef<str>> RoomNames for &[S] {
    fn names(self) -> Vec<String> {
        self.iter().map(|name| name.as_ref().to_owned()).collect()
    }
}

impl<S: AsRef<str>, const N: usize> RoomNames for [S; N] {
    fn names(self) -> Vec<String> {
        self.as_slice().names()
    }
}

impl<S: AsRef<str>> RoomNames for &Vec<S> {
    fn names(self) -> Vec<String> {
        self.as_slice().names()
    }
}

impl RoomNames for Vec<String> {
    fn names(self) -> Vec<String> {
        self
    }
}

/// The receivers of a broadcast, chosen step by step: `io.to("red").except("blue").emit(…)`.
///
/// Node: [`BroadcastOperator`](https://socket.io/docs/v4/server-api/#server).
#[derive(Clone, Debug)]
#[must_use = "nothing is sent without `emit`"]
pub struct Broadcast {
    namespace: Option<Namespace>,
    target: Target,
    flags: Flags,
    is_local: bool,
    timeout: Duration,
}

/// Answers are waited for this long, if the program does not say how long.
pub(super) const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);

impl Broadcast {
    pub(super) fn new(namespace: Namespace) -> Broadcast {
        Broadcast {
            namespace: Some(namespace),
            target: Target::default(),
            flags: Flags::default(),
            is_local: false,
            timeout: DEFAULT_TIMEOUT,
        }
    }

    pub(super) fn from(lp: &Loop, socket: Socket) -> Broadcast {
        let mut broadcast = Broadcast { namespace: socket.namespace(lp), ..Broadcast::new(Namespace(socket.0)) };
        broadcast.target.except.extend(socket.id(lp).map(|id| id.to_string()));
        broadcast
    }

    /// Adds rooms. A socket in several of them gets the event once.
    #[doc(alias = "in")]
    pub fn to(mut self, rooms: impl RoomNames) -> Broadcast {
        self.target.rooms.extend(rooms.names());
        self
    }

    /// Leaves out the sockets in these rooms.
    pub fn except(mut self, rooms: impl RoomNames) -> Broadcast {
        self.target.except.extend(rooms.names());
        self
    }

    /// The event is dropped for sockets that are not ready to take it.
    pub fn volatile(mut self) -> Broadcast {
        self.flags.is_volatile = true;
        self
    }

    /// Whether the event may be compressed for clients that have agreed on `permessage-deflate`. Default: `true`.
    pub fn compress(mut self, compress: bool) -> Broadcast {
        self.flags.compress = compress;
        self
    }

    /// Only sockets of this node.
    pub fn local(mut self) -> Broadcast {
        self.is_local = true;
        self
    }

    /// How long answers are waited for, of sockets and of other nodes. Default: 5 s.
    pub fn timeout(mut self, timeout: Duration) -> Broadcast {
        self.timeout = timeout;
        self
    }

    /// Sends an event to the receivers; the result counts those of this node. Nothing is sent, with a line in the log
    /// at level error, if the name is reserved or the arguments cannot be written as JSON.
    pub fn emit(self, lp: &mut Loop, name: &str, arguments: impl IntoArguments) -> Sent {
        let Some(namespace) = self.namespace else { return Sent::default() };
        if !self.is_local && !self.flags.is_volatile && sessions::are_kept(lp, namespace) {
            let is_sent = sessions::emit(lp, namespace, &self.target, name, &arguments, self.flags.compress);
            return Sent { receivers: if is_sent { self.sockets(lp).len() } else { 0 } };
        }
        let sent = deliver(lp, namespace, &self.target, name, &arguments, self.flags, None);
        if !self.is_local {
            with_adapter(lp, namespace, |adapter, lp| {
                let Some(arguments) = encode::to_owned(&arguments) else { return };
                let packet = BroadcastPacket {
                    name,
                    arguments: &arguments,
                    volatile: self.flags.is_volatile,
                    compress: self.flags.compress,
                    offset: None,
                };
                adapter.broadcast(lp, namespace, &self.target, packet);
            });
        }
        sent
    }

    /// Sends an event that all receivers acknowledge. `done` gets their answers, when all have answered or the timeout
    /// is over: who has answered what, and who has not.
    #[doc(alias = "emitWithAck")]
    pub fn emit_with_ack(
        self,
        lp: &mut Loop,
        name: &str,
        arguments: impl IntoArguments,
        done: impl FnOnce(&mut Loop, Answers) + 'static,
    ) -> Sent {
        let Some(namespace) = self.namespace else { return Sent::default() };
        acks::broadcast(lp, namespace, &self.target, self.is_local, name, &arguments, self.timeout, Box::new(done))
    }

    /// The sockets join rooms, also those of other nodes.
    #[doc(alias = "socketsJoin")]
    pub fn sockets_join(self, lp: &mut Loop, rooms: impl RoomNames) {
        self.change_rooms(lp, &rooms.names(), true);
    }

    /// The sockets leave rooms, also those of other nodes.
    #[doc(alias = "socketsLeave")]
    pub fn sockets_leave(self, lp: &mut Loop, rooms: impl RoomNames) {
        self.change_rooms(lp, &rooms.names(), false);
    }

    fn change_rooms(self, lp: &mut Loop, rooms: &[String], join: bool) {
        let Some(namespace) = self.namespace else { return };
        namespace.receive_rooms(lp, &self.target, rooms, join);
        if !self.is_local {
            with_adapter(lp, namespace, |adapter, lp| match join {
                true => adapter.sockets_join(lp, namespace, &self.target, rooms),
                false => adapter.sockets_leave(lp, namespace, &self.target, rooms),
            });
        }
    }

    /// Disconnects the sockets, also those of other nodes; with `close` also their sessions.
    #[doc(alias = "disconnectSockets")]
    pub fn disconnect_sockets(self, lp: &mut Loop, close: bool) {
        let Some(namespace) = self.namespace else { return };
        namespace.receive_disconnect(lp, &self.target, close);
        if !self.is_local {
            with_adapter(lp, namespace, |adapter, lp| adapter.disconnect_sockets(lp, namespace, &self.target, close));
        }
    }

    /// The sockets of this node.
    pub fn sockets(&self, lp: &Loop) -> Vec<Socket> {
        self.namespace.map_or_else(Vec::new, |namespace| {
            let mut sockets = Vec::new();
            select(lp, namespace, &self.target, &mut sockets);
            sockets
        })
    }

    /// `done` gets the sockets, also those of other nodes, when all nodes have answered or the timeout is over.
    #[doc(alias = "fetchSockets")]
    pub fn fetch_sockets(self, lp: &mut Loop, done: impl FnOnce(&mut Loop, Vec<RemoteSocket>) + 'static) {
        let Some(namespace) = self.namespace else { return };
        acks::fetch(lp, namespace, &self.target, self.is_local, self.timeout, Box::new(done));
    }
}

impl Namespace {
    /// For an [`Adapter`](super::adapter::Adapter): an event of another node for sockets of this one.
    pub fn receive_broadcast(self, lp: &mut Loop, target: &Target, packet: BroadcastPacket<'_>) -> Sent {
        deliver(
            lp,
            self,
            target,
            packet.name,
            packet.arguments,
            Flags { is_volatile: packet.volatile, compress: packet.compress },
            packet.offset,
        )
    }

    /// For an [`Adapter`](super::adapter::Adapter): another node lets sockets of this one join or leave rooms.
    pub fn receive_rooms(self, lp: &mut Loop, target: &Target, rooms: &[String], join: bool) {
        let mut sockets = Vec::new();
        select(lp, self, target, &mut sockets);
        for socket in sockets {
            socket.change_rooms(lp, rooms, join);
        }
    }

    /// For an [`Adapter`](super::adapter::Adapter): another node disconnects sockets of this one.
    pub fn receive_disconnect(self, lp: &mut Loop, target: &Target, close: bool) {
        let mut sockets = Vec::new();
        select(lp, self, target, &mut sockets);
        for socket in sockets {
            socket.disconnect(lp, close);
        }
    }
}
