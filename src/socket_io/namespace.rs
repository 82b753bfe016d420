//! Namespaces: what a program does with the sockets of one.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use super::adapter::RemoteSocket;
use super::arguments::IntoArguments;
use super::broadcast::{Broadcast, DEFAULT_TIMEOUT, RoomNames};
use super::cluster::with_adapter;
use super::deliver::Sent;
use super::event::{Event, EventError};
use super::registry::{EventListener, Listeners, NamespaceState, OnEvent, Registry};
use super::{Answers, DisconnectReason, Next, ServerAnswers, Socket, acks, encode};
use crate::{Key, Loop};

/// A handle of a namespace. 8 bytes, `Copy`. From [`Server::of`](super::Server::of).
///
/// Node: [`Namespace`](https://socket.io/docs/v4/server-api/#namespace).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Namespace(pub(super) Key);

impl Namespace {
    fn state(self, lp: &Loop) -> Option<&NamespaceState> {
        lp.layer::<Registry>()?.namespace(self)
    }

    /// Its name, with the slash. `None` when it is gone.
    pub fn name(self, lp: &Loop) -> Option<Rc<str>> {
        self.state(lp).map(|state| state.name.clone())
    }

    fn listeners(self, lp: &mut Loop, change: impl FnOnce(&mut Listeners)) {
        let registry = lp.layer_mut::<Registry>();
        if let Some(list) = registry.namespace(self).map(|state| state.list) {
            change(&mut registry.lists[list as usize]);
        }
    }

    /// Adds a listener for new sockets. It is called when all middlewares have let the client in, before any event of
    /// the socket is delivered. Events that it sends to the socket are the first ones that the client gets.
    #[doc(alias = "connection")]
    #[doc(alias = "connect")]
    pub fn on_connection(self, lp: &mut Loop, f: impl FnMut(&mut Loop, Socket) + 'static) -> Namespace {
        self.listeners(lp, |list| list.on_connection.push(Rc::new(RefCell::new(f))));
        self
    }

    /// Listens for an event of all sockets of the namespace. In Node each socket has listeners of its own; here one for
    /// all of them saves their memory. [`Socket::on`] is for a single socket.
    pub fn on(
        self,
        lp: &mut Loop,
        name: &str,
        f: impl FnMut(&mut Loop, Socket, &mut Event<'_>) + 'static,
    ) -> Namespace {
        let call: OnEvent = Rc::new(RefCell::new(f));
        let listener = EventListener { call, is_once: false };
        self.listeners(lp, |list| list.events.entry(name.into()).or_default().push(listener));
        self
    }

    /// Removes the listeners for an event. Those of single sockets stay.
    #[doc(alias = "removeAllListeners")]
    pub fn off(self, lp: &mut Loop, name: &str) {
        self.listeners(lp, |list| drop(list.events.remove(name)));
    }

    /// Listens for all events of all sockets, before middlewares and listeners: also for those that a middleware stops.
    #[doc(alias = "onAny")]
    pub fn on_any(self, lp: &mut Loop, f: impl FnMut(&mut Loop, Socket, &mut Event<'_>) + 'static) -> Namespace {
        self.listeners(lp, |list| list.any.push(Rc::new(RefCell::new(f))));
        self
    }

    /// Listens for all events that are sent to sockets of the namespace. Called in a tick behind the method that sends.
    #[doc(alias = "onAnyOutgoing")]
    pub fn on_any_outgoing(
        self,
        lp: &mut Loop,
        f: impl FnMut(&mut Loop, Socket, &mut Event<'_>) + 'static,
    ) -> Namespace {
        lp.layer_mut::<Registry>().has_outgoing_listeners = true;
        self.listeners(lp, |list| list.any_outgoing.push(Rc::new(RefCell::new(f))));
        self
    }

    /// Adds a listener for sockets that are being disconnected. [`Socket::rooms`] still has the rooms of the socket.
    #[doc(alias = "disconnecting")]
    pub fn on_disconnecting(
        self,
        lp: &mut Loop,
        f: impl FnMut(&mut Loop, Socket, DisconnectReason) + 'static,
    ) -> Namespace {
        self.listeners(lp, |list| list.on_disconnecting.push(Rc::new(RefCell::new(f))));
        self
    }

    /// Adds a listener for sockets that are disconnected: the last event of a socket. Nothing can be sent to it, but
    /// its id, its handshake and its data can still be read.
    #[doc(alias = "disconnect")]
    pub fn on_disconnect(
        self,
        lp: &mut Loop,
        f: impl FnMut(&mut Loop, Socket, DisconnectReason) + 'static,
    ) -> Namespace {
        self.listeners(lp, |list| list.on_disconnect.push(Rc::new(RefCell::new(f))));
        self
    }

    /// Adds a listener for sockets whose queued events are all sent, after [`Socket::emit`] has returned `false`.
    #[doc(alias = "drain")]
    pub fn on_drain(self, lp: &mut Loop, f: impl FnMut(&mut Loop, Socket) + 'static) -> Namespace {
        self.listeners(lp, |list| list.on_drain.push(Rc::new(RefCell::new(f))));
        self
    }

    /// Adds a listener for sockets whose session has changed from polling to a WebSocket connection.
    #[doc(alias = "upgrade")]
    pub fn on_upgrade(self, lp: &mut Loop, f: impl FnMut(&mut Loop, Socket) + 'static) -> Namespace {
        self.listeners(lp, |list| list.on_upgrade.push(Rc::new(RefCell::new(f))));
        self
    }

    /// Adds a listener for events that a middleware has stopped. Without one the error is reported as not handled, as
    /// [`net::Handler::on_error`](crate::net::Handler::on_error) does.
    #[doc(alias = "error")]
    pub fn on_error(self, lp: &mut Loop, f: impl FnMut(&mut Loop, Socket, &EventError) + 'static) -> Namespace {
        self.listeners(lp, |list| list.on_error.push(Rc::new(RefCell::new(f))));
        self
    }

    /// Adds a listener for clients that were lost and have not come back in time: they cannot be recovered any more. It
    /// gets the id of the socket.
    pub fn on_session_expired(self, lp: &mut Loop, f: impl FnMut(&mut Loop, &str) + 'static) -> Namespace {
        self.listeners(lp, |list| list.on_expired.push(Rc::new(RefCell::new(f))));
        self
    }

    /// Adds a middleware: it decides with [`Next`], now or later, whether a client may join the namespace. Middlewares
    /// are called in the order in which they were added. A client about which none decides is disconnected after
    /// [`Options::connect_timeout`](super::Options::connect_timeout). The socket is not connected yet, but its
    /// [`handshake`](Socket::handshake), [`auth`](Socket::auth) and [`data`](Socket::set_data) can be used.
    #[doc(alias = "use")]
    #[doc(alias = "io.use")]
    pub fn use_middleware(self, lp: &mut Loop, f: impl FnMut(&mut Loop, Socket, Next) + 'static) -> Namespace {
        self.listeners(lp, |list| list.middlewares.push(Rc::new(RefCell::new(f))));
        self
    }

    /// Adds a middleware for the events of all sockets: an error stops the event, and goes to
    /// [`on_error`](Self::on_error).
    #[doc(alias = "socket.use")]
    pub fn use_event_middleware(
        self,
        lp: &mut Loop,
        f: impl FnMut(&mut Loop, Socket, &Event<'_>) -> Result<(), EventError> + 'static,
    ) -> Namespace {
        self.listeners(lp, |list| list.packet_middlewares.push(Rc::new(RefCell::new(f))));
        self
    }

    /// A broadcast to all sockets, to be narrowed.
    pub fn broadcast(self) -> Broadcast {
        Broadcast::new(self)
    }

    /// A broadcast to rooms.
    #[doc(alias = "in")]
    pub fn to(self, rooms: impl RoomNames) -> Broadcast {
        self.broadcast().to(rooms)
    }

    /// A broadcast to all sockets that are not in these rooms.
    pub fn except(self, rooms: impl RoomNames) -> Broadcast {
        self.broadcast().except(rooms)
    }

    /// A broadcast to the sockets of this node only.
    pub fn local(self) -> Broadcast {
        self.broadcast().local()
    }

    /// A broadcast to the sockets that are ready to take it now.
    pub fn volatile(self) -> Broadcast {
        self.broadcast().volatile()
    }

    /// A broadcast with another time for answers than 5 s.
    pub fn timeout(self, timeout: Duration) -> Broadcast {
        self.broadcast().timeout(timeout)
    }

    /// Sends an event to all sockets.
    pub fn emit(self, lp: &mut Loop, name: &str, arguments: impl IntoArguments) -> Sent {
        self.broadcast().emit(lp, name, arguments)
    }

    /// Sends an event to all sockets and collects their answers: see [`Broadcast::emit_with_ack`].
    #[doc(alias = "emitWithAck")]
    pub fn emit_with_ack(
        self,
        lp: &mut Loop,
        name: &str,
        arguments: impl IntoArguments,
        done: impl FnOnce(&mut Loop, Answers) + 'static,
    ) -> Sent {
        self.broadcast().emit_with_ack(lp, name, arguments, done)
    }

    /// The connected sockets of this node, in the order of their connection.
    pub fn sockets(self, lp: &Loop) -> Vec<Socket> {
        self.state(lp).map_or_else(Vec::new, |state| state.rooms.sockets().collect())
    }

    /// How many sockets of this node are connected.
    #[doc(alias = "socketsCount")]
    pub fn socket_count(self, lp: &Loop) -> usize {
        self.state(lp).map_or(0, |state| state.rooms.len())
    }

    /// The socket of this node with this id.
    #[doc(alias = "sockets.get")]
    pub fn socket(self, lp: &Loop, id: &str) -> Option<Socket> {
        self.state(lp)?.rooms.by_id(id)
    }

    /// The rooms of this node that sockets have joined, without those of single ids.
    #[doc(alias = "adapter.rooms")]
    pub fn rooms(self, lp: &Loop) -> Vec<String> {
        self.state(lp).map_or_else(Vec::new, |state| state.rooms.room_names().map(str::to_owned).collect())
    }

    /// How many sockets of this node are in a room.
    pub fn room_size(self, lp: &Loop, room: &str) -> usize {
        self.state(lp).map_or(0, |state| state.rooms.count(room))
    }

    /// `done` gets the names of the rooms of all nodes, each once and in order, when all nodes have answered or 5 s are
    /// over. As in Node, the ids of sockets are among them.
    #[doc(alias = "allRooms")]
    pub fn all_rooms(self, lp: &mut Loop, done: impl FnOnce(&mut Loop, Vec<String>) + 'static) {
        acks::all_rooms(lp, self, DEFAULT_TIMEOUT, Box::new(done));
    }

    /// `done` gets all sockets: see [`Broadcast::fetch_sockets`].
    #[doc(alias = "fetchSockets")]
    pub fn fetch_sockets(self, lp: &mut Loop, done: impl FnOnce(&mut Loop, Vec<RemoteSocket>) + 'static) {
        self.broadcast().fetch_sockets(lp, done);
    }

    /// All sockets join rooms.
    #[doc(alias = "socketsJoin")]
    pub fn sockets_join(self, lp: &mut Loop, rooms: impl RoomNames) {
        self.broadcast().sockets_join(lp, rooms);
    }

    /// All sockets leave rooms.
    #[doc(alias = "socketsLeave")]
    pub fn sockets_leave(self, lp: &mut Loop, rooms: impl RoomNames) {
        self.broadcast().sockets_leave(lp, rooms);
    }

    /// All sockets are disconnected.
    #[doc(alias = "disconnectSockets")]
    pub fn disconnect_sockets(self, lp: &mut Loop, close: bool) {
        self.broadcast().disconnect_sockets(lp, close);
    }

    /// Sends an event to the servers of the other nodes of the cluster. Nothing happens on this node, and without an
    /// [`Adapter`](super::adapter::Adapter) there are no others.
    #[doc(alias = "serverSideEmit")]
    pub fn server_side_emit(self, lp: &mut Loop, name: &str, arguments: impl IntoArguments) {
        let Some(arguments) = encode::to_owned(&arguments) else { return };
        with_adapter(lp, self, |adapter, lp| adapter.server_side_emit(lp, self, name, &arguments, None));
    }

    /// As [`server_side_emit`](Self::server_side_emit); `done` gets the answers of the other nodes, when all have
    /// answered or the timeout is over.
    #[doc(alias = "serverSideEmitWithAck")]
    pub fn server_side_emit_with_ack(
        self,
        lp: &mut Loop,
        name: &str,
        arguments: impl IntoArguments,
        timeout: Duration,
        done: impl FnOnce(&mut Loop, ServerAnswers) + 'static,
    ) {
        acks::server_side(lp, self, name, &arguments, timeout, Box::new(done));
    }

    /// Listens for an event that another node has sent with [`server_side_emit`](Self::server_side_emit).
    pub fn on_server_event(
        self,
        lp: &mut Loop,
        name: &str,
        f: impl FnMut(&mut Loop, &mut Event<'_>) + 'static,
    ) -> Namespace {
        self.listeners(lp, |list| list.server_events.entry(name.into()).or_default().push(Rc::new(RefCell::new(f))));
        self
    }
}

impl fmt::Debug for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Namespace#{}", self.0.serial())
    }
}
