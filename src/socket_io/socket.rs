//! The handle of a socket: a client in one namespace.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::arguments::IntoArguments;
use super::broadcast::{Broadcast, RoomNames};
use super::event::{Event, EventError};
use super::handshake::Handshake;
use super::registry::{EventListener, Listeners, OnEvent, Registry, SocketState};
use super::send::Flags;
use super::socket_id::SocketId;
use super::{AckResult, DisconnectReason, Namespace, Unicast, acks, cluster, door, send};
use crate::engine_io::{Revision, Session, Transport};
use crate::{Key, Loop};

/// A handle of a client in one namespace. 8 bytes, `Copy`; callbacks get it as an argument. It never names another
/// client.
///
/// Node: [the Socket instance of a server](https://socket.io/docs/v4/server-socket-instance/).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Socket(pub(super) Key);

impl Socket {
    fn state(self, lp: &Loop) -> Option<&SocketState> {
        lp.layer::<Registry>()?.socket(self)
    }

    /// Its id, which is also the name of a room that it is in. `None` when it is gone.
    #[doc(alias = "socket.id")]
    pub fn id(self, lp: &Loop) -> Option<SocketId> {
        self.state(lp).map(|state| state.id.clone())
    }

    /// The number of the socket, for logs.
    pub fn serial(self) -> u32 {
        self.0.serial()
    }

    /// Whether events can be sent.
    #[doc(alias = "connected")]
    pub fn is_connected(self, lp: &Loop) -> bool {
        self.state(lp).is_some_and(SocketState::is_connected)
    }

    /// Whether the client has come back after a loss: its id, rooms and data are those of before, and it has got the
    /// events that it has missed.
    #[doc(alias = "recovered")]
    pub fn is_recovered(self, lp: &Loop) -> bool {
        self.state(lp).is_some_and(|state| state.is_recovered)
    }

    /// Its namespace. `None` when it is gone.
    #[doc(alias = "nsp")]
    pub fn namespace(self, lp: &Loop) -> Option<Namespace> {
        self.state(lp).map(|state| state.namespace)
    }

    /// The session below, which it shares with the sockets of the same client in other namespaces.
    #[doc(alias = "conn")]
    #[doc(alias = "client")]
    pub fn session(self, lp: &Loop) -> Option<Session> {
        self.state(lp).map(|state| state.session)
    }

    /// The transport of its session.
    pub fn transport(self, lp: &Loop) -> Option<Transport> {
        self.session(lp)?.transport(lp)
    }

    /// The revision of Engine.IO that its client speaks: 3 for Socket.IO 2.
    pub fn revision(self, lp: &Loop) -> Option<Revision> {
        self.session(lp)?.revision(lp)
    }

    /// The request with which the client came.
    pub fn handshake(self, lp: &Loop) -> Option<Handshake> {
        let registry = lp.layer::<Registry>()?;
        Some(Handshake::of_text(registry.handshakes.get(registry.socket(self)?.handshake)))
    }

    /// The client's credentials: `io(url, { auth })`. `None` if it has sent none, or of another type.
    ///
    /// For a client of Socket.IO 2 it is the query of the namespace, as an object of strings.
    #[doc(alias = "handshake.auth")]
    pub fn auth<T: DeserializeOwned>(self, lp: &Loop) -> Option<T> {
        serde_json::from_str(self.state(lp)?.auth.as_deref()?).ok()
    }

    /// Sends an event. A tuple has several arguments: `("room", 7)`; a single value that is not a string, a number, a
    /// boolean or a JSON value goes into a tuple of one: `(&order,)`.
    ///
    /// Returns `false` if the client takes events more slowly than the program sends them. The event is queued all the
    /// same; send on when [`Namespace::on_drain`] is called. Also returns `false`, and sends nothing, if the socket is
    /// not connected, the name is reserved, or the arguments cannot be written as JSON (the last two are logged as
    /// errors).
    pub fn emit(self, lp: &mut Loop, name: &str, arguments: impl IntoArguments) -> bool {
        send::event(lp, self, None, name, &arguments, Flags::default())
    }

    /// As [`emit`](Self::emit), if the client is ready to take the event now; otherwise it is dropped. For positions
    /// and prices, of which only the newest matters.
    #[doc(alias = "volatile")]
    pub fn emit_volatile(self, lp: &mut Loop, name: &str, arguments: impl IntoArguments) -> bool {
        send::event(lp, self, None, name, &arguments, Flags { is_volatile: true, ..Flags::default() })
    }

    /// With `false` the next event is sent as it is, also to a client that has agreed on `permessage-deflate`:
    /// `socket.compress(false).emit(lp, …)`. For data that is compressed already, and for secrets, whose length must
    /// not depend on what is beside them. By default events may be compressed.
    pub fn compress(self, compress: bool) -> Unicast {
        Unicast { socket: self, flags: Flags { compress, ..Flags::default() } }
    }

    /// Sends an event that the client acknowledges. `done` gets its answer, or an error when `timeout` is over or the
    /// socket is disconnected. Zero: no timeout.
    #[doc(alias = "timeout")]
    #[doc(alias = "emitWithAck")]
    pub fn emit_with_ack(
        self,
        lp: &mut Loop,
        name: &str,
        arguments: impl IntoArguments,
        timeout: Duration,
        done: impl FnOnce(&mut Loop, Socket, AckResult<'_>) + 'static,
    ) -> bool {
        acks::emit(lp, self, name, &arguments, Flags::default(), timeout, Box::new(done))
    }

    /// Joins rooms.
    pub fn join(self, lp: &mut Loop, rooms: impl RoomNames) {
        self.change_rooms(lp, &rooms.names(), true);
    }

    /// Leaves rooms.
    pub fn leave(self, lp: &mut Loop, rooms: impl RoomNames) {
        self.change_rooms(lp, &rooms.names(), false);
    }

    pub(super) fn change_rooms(self, lp: &mut Loop, rooms: &[String], join: bool) {
        let registry = lp.layer_mut::<Registry>();
        let Some(namespace) = registry.socket(self).map(|state| state.namespace) else { return };
        let Some(state) = registry.namespace_mut(namespace) else { return };
        let is_watched = cluster::watches_rooms(state);
        let mut changed = Vec::new();
        for room in rooms {
            let is_change = match join {
                true => state.rooms.join(self, room).is_some_and(|joined| joined.created),
                false => state.rooms.leave(self, room).is_some_and(|left| left.deleted),
            };
            if is_watched && is_change {
                changed.push(room.clone());
            }
        }
        cluster::rooms_changed(lp, namespace, &changed, join);
    }

    /// The rooms that it is in: its id first, then in the order in which it has joined. Still those of before in
    /// [`Namespace::on_disconnecting`]; empty after that.
    pub fn rooms(self, lp: &Loop) -> Vec<String> {
        let Some(registry) = lp.layer::<Registry>() else { return Vec::new() };
        let Some(state) = registry.socket(self) else { return Vec::new() };
        if let Some(rooms) = &state.last_rooms {
            return rooms.to_vec();
        }
        let Some(namespace) = registry.namespace(state.namespace) else { return Vec::new() };
        namespace.rooms.rooms_of(self).map(str::to_owned).collect()
    }

    /// A broadcast from this socket, which does not get it itself: to all other sockets of the namespace.
    pub fn broadcast(self, lp: &Loop) -> Broadcast {
        Broadcast::from(lp, self)
    }

    /// A broadcast to rooms, without this socket. Node: `socket.to(room)`.
    #[doc(alias = "in")]
    pub fn to(self, lp: &Loop, rooms: impl RoomNames) -> Broadcast {
        self.broadcast(lp).to(rooms)
    }

    /// A broadcast to all other sockets that are not in these rooms.
    pub fn except(self, lp: &Loop, rooms: impl RoomNames) -> Broadcast {
        self.broadcast(lp).except(rooms)
    }

    /// Disconnects the client from this namespace, or with `close` from all, and closes its session.
    /// [`Namespace::on_disconnecting`] and [`Namespace::on_disconnect`] follow in a tick.
    #[doc(alias = "disconnectSockets")]
    pub fn disconnect(self, lp: &mut Loop, close: bool) {
        let registry = lp.layer_mut::<Registry>();
        let Some(state) = registry.socket(self).filter(|state| state.is_connected()) else { return };
        let session = state.session;
        let sockets: Vec<Socket> = match registry.client(session) {
            Some(client) if close => client.sockets.iter().map(|(_, socket)| *socket).collect(),
            _ => vec![self],
        };
        for socket in sockets {
            let registry = lp.layer_mut::<Registry>();
            let name = registry
                .socket(socket)
                .filter(|state| state.is_connected())
                .and_then(|state| registry.namespace(state.namespace))
                .map(|namespace| namespace.name.clone());
            if let Some(name) = name {
                send::control(lp, session, super::packet::PacketType::Disconnect, &name, None);
                door::end_later(lp, socket, DisconnectReason::ServerNamespaceDisconnect);
            }
        }
        if close {
            session.close(lp);
        }
    }

    /// Sets the data that the program keeps with the socket. Other nodes see it as JSON
    /// ([`RemoteSocket::data`](super::RemoteSocket)). A recovered socket has the data of before.
    #[doc(alias = "socket.data")]
    pub fn set_data<T: Serialize + 'static>(self, lp: &mut Loop, data: T) {
        if let Some(state) = lp.layer_mut::<Registry>().socket_mut(self) {
            state.data = Some(Box::new(data));
        }
    }

    /// The data of the program. `None` if there is none of this type.
    pub fn data<T: 'static>(self, lp: &Loop) -> Option<&T> {
        (**self.state(lp)?.data.as_ref()?).as_any().downcast_ref()
    }

    /// Turns the data of a socket that was recovered on another node into the type of the program: there it is JSON, a
    /// [`serde_json::Value`]. Returns whether the data is of this type now.
    pub fn restore_data<T: Serialize + DeserializeOwned + 'static>(self, lp: &mut Loop) -> bool {
        if let Some(json) = self.data::<serde_json::Value>(lp)
            && let Ok(data) = <T as serde::Deserialize>::deserialize(json)
        {
            self.set_data(lp, data);
        }
        self.data::<T>(lp).is_some()
    }

    /// The data of the program, to change it.
    pub fn data_mut<T: 'static>(self, lp: &mut Loop) -> Option<&mut T> {
        let data = lp.layer_mut::<Registry>().socket_mut(self)?.data.as_mut()?;
        (**data).as_any_mut().downcast_mut()
    }

    fn listeners(self, lp: &mut Loop, change: impl FnOnce(&mut Listeners)) {
        if let Some(state) = lp.layer_mut::<Registry>().socket_mut(self) {
            change(state.listeners.get_or_insert_default());
        }
    }

    /// Listens for an event of this socket alone, after the listeners of the namespace. A listener of the namespace
    /// ([`Namespace::on`]) costs nothing for each socket, and is the better place for what all sockets do.
    pub fn on(self, lp: &mut Loop, name: &str, f: impl FnMut(&mut Loop, Socket, &mut Event<'_>) + 'static) {
        self.add(lp, name, Rc::new(RefCell::new(f)), false);
    }

    /// As [`on`](Self::on), for the next event of this name only.
    pub fn once(self, lp: &mut Loop, name: &str, f: impl FnMut(&mut Loop, Socket, &mut Event<'_>) + 'static) {
        self.add(lp, name, Rc::new(RefCell::new(f)), true);
    }

    fn add(self, lp: &mut Loop, name: &str, call: OnEvent, is_once: bool) {
        self.listeners(lp, |list| list.events.entry(name.into()).or_default().push(EventListener { call, is_once }));
    }

    /// Removes the listeners of this socket for an event. Those of the namespace stay.
    #[doc(alias = "removeAllListeners")]
    pub fn off(self, lp: &mut Loop, name: &str) {
        self.listeners(lp, |list| drop(list.events.remove(name)));
    }

    /// Listens for all events of this socket, before middlewares and listeners: also for those that a middleware stops.
    #[doc(alias = "onAny")]
    pub fn on_any(self, lp: &mut Loop, f: impl FnMut(&mut Loop, Socket, &mut Event<'_>) + 'static) {
        self.listeners(lp, |list| list.any.push(Rc::new(RefCell::new(f))));
    }

    /// Listens for all events that are sent to this socket. Called in a tick behind the method that sends.
    #[doc(alias = "onAnyOutgoing")]
    pub fn on_any_outgoing(self, lp: &mut Loop, f: impl FnMut(&mut Loop, Socket, &mut Event<'_>) + 'static) {
        lp.layer_mut::<Registry>().has_outgoing_listeners = true;
        self.listeners(lp, |list| list.any_outgoing.push(Rc::new(RefCell::new(f))));
    }

    /// Adds a middleware for the events of this socket: an error stops the event, and goes to
    /// [`Namespace::on_error`].
    #[doc(alias = "socket.use")]
    pub fn use_middleware(
        self,
        lp: &mut Loop,
        f: impl FnMut(&mut Loop, Socket, &Event<'_>) -> Result<(), EventError> + 'static,
    ) {
        self.listeners(lp, |list| list.packet_middlewares.push(Rc::new(RefCell::new(f))));
    }

    /// Listens for the end of this socket.
    #[doc(alias = "disconnect")]
    pub fn on_disconnect(self, lp: &mut Loop, f: impl FnMut(&mut Loop, Socket, DisconnectReason) + 'static) {
        self.listeners(lp, |list| list.on_disconnect.push(Rc::new(RefCell::new(f))));
    }
}

/// `socket #41`, as in the log.
impl fmt::Display for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "socket #{}", self.serial())
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Socket#{}", self.serial())
    }
}
