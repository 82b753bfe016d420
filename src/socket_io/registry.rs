//! The servers, namespaces and sockets of a loop. They must be reachable while a callback of the program runs, so the
//! loop owns them.

use std::any::Any;
use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::rc::Rc;
use std::time::Instant;

use serde::Serialize;
use serde_json::Value;
use smallvec::SmallVec;

use super::adapter::{Adapter, Target};
use super::answers::{Acks, Collection};
use super::binary::Reconstructor;
use super::event::{Event, EventError};
use super::names::Names;
use super::recovery::{Limits, Offset, Recovery, Sent};
use super::rooms::Rooms;
use super::socket_id::SocketId;
use super::texts::{TextId, Texts};
use super::{AckResult, Answers, DisconnectReason, Id, Namespace, Next, Options, RemoteSocket, Socket};
use crate::engine_io::{ConnectionError, Revision, Session};
use crate::http::{HeaderMap, Request};
use crate::{HasSerial, Loop, Slots, TimerId, free_vec, grow_vec};

/// Everything of Socket.IO in one loop.
#[derive(Default)]
pub(super) struct Registry {
    pub servers: Vec<ServerState>,
    pub namespaces: Slots<NamespaceState>,
    pub lists: Vec<Listeners>,
    pub sockets: Slots<SocketState>,
    /// The requests of all clients.
    pub handshakes: Texts,
    /// The clients, by the slot of their session. Found for every message.
    clients: Vec<Option<Client>>,
    client_count: usize,
    /// The program has, or had, catch-all listeners for outgoing events.
    pub has_outgoing_listeners: bool,
    next_serial: u32,
    pub random: crate::websocket::Masks,
    pub scratch: Scratch,
}

/// Buffers that are used again for each packet.
#[derive(Default)]
pub(super) struct Scratch {
    pub packet: String,
    pub sockets: Vec<Socket>,
    pub sessions: Vec<Session>,
}

/// A server: its namespaces, and what the program does with requests.
pub(super) struct ServerState {
    pub options: Rc<Options>,
    /// The namespaces. A name that a predicate accepts leads to the namespace that stands for all such names.
    pub names: Names<Namespace>,
    /// How many namespaces exist because a client has asked for them.
    pub dynamic_count: usize,
    pub allow_request: Option<AllowRequest>,
    pub on_headers: Option<OnHeaders>,
    pub on_connection_error: Option<OnConnectionError>,
    /// Makes the adapter of each namespace.
    pub adapters: Option<AdapterFactory>,
}

pub(super) type AllowRequest = Rc<RefCell<dyn FnMut(&mut Loop, &Request) -> Result<(), String>>>;
pub(super) type OnHeaders = Rc<RefCell<dyn FnMut(&mut Loop, &mut HeaderMap, &Request, bool)>>;
pub(super) type OnConnectionError = Rc<RefCell<dyn FnMut(&mut Loop, &ConnectionError, &Request)>>;
pub(super) type AdapterFactory = Rc<dyn Fn(&mut Loop, &str) -> Box<dyn Adapter>>;
pub(super) type OnSocket = Rc<RefCell<dyn FnMut(&mut Loop, Socket)>>;
pub(super) type OnEvent = Rc<RefCell<dyn FnMut(&mut Loop, Socket, &mut Event<'_>)>>;
pub(super) type OnServerEvent = Rc<RefCell<dyn FnMut(&mut Loop, &mut Event<'_>)>>;
pub(super) type OnDisconnect = Rc<RefCell<dyn FnMut(&mut Loop, Socket, DisconnectReason)>>;
pub(super) type OnError = Rc<RefCell<dyn FnMut(&mut Loop, Socket, &EventError)>>;
pub(super) type OnExpired = Rc<RefCell<dyn FnMut(&mut Loop, &str)>>;
pub(super) type Middleware = Rc<RefCell<dyn FnMut(&mut Loop, Socket, Next)>>;
pub(super) type PacketMiddleware = Rc<RefCell<dyn FnMut(&mut Loop, Socket, &Event<'_>) -> Result<(), EventError>>>;

/// A listener for one event.
#[derive(Clone)]
pub(super) struct EventListener {
    pub call: OnEvent,
    pub is_once: bool,
}

/// The program's listeners for the events of a namespace, of all children of a dynamic namespace, or of one socket.
#[derive(Default)]
pub(super) struct Listeners {
    pub middlewares: Vec<Middleware>,
    pub packet_middlewares: Vec<PacketMiddleware>,
    pub on_connection: Vec<OnSocket>,
    pub events: HashMap<Box<str>, Vec<EventListener>>,
    pub any: Vec<OnEvent>,
    pub any_outgoing: Vec<OnEvent>,
    pub on_drain: Vec<OnSocket>,
    pub on_upgrade: Vec<OnSocket>,
    pub on_error: Vec<OnError>,
    pub on_disconnecting: Vec<OnDisconnect>,
    pub on_disconnect: Vec<OnDisconnect>,
    pub on_expired: Vec<OnExpired>,
    pub server_events: HashMap<Box<str>, Vec<OnServerEvent>>,
}

/// A namespace.
pub(super) struct NamespaceState {
    pub serial: u32,
    pub server: u32,
    pub name: Rc<str>,
    /// Its listeners in [`Registry::lists`]. The children of a dynamic namespace share them.
    pub list: u32,
    /// The namespace that stands for all names of a predicate, if this one exists because a client has asked for it.
    pub parent: Option<Namespace>,
    pub rooms: Rooms<Socket>,
    /// Its sockets, also those that are not connected yet, or not gone yet.
    pub socket_count: usize,
    /// How many clients join it when the adapter has found their lost state.
    pub returning_count: usize,
    /// Events that sockets are to acknowledge. The numbers of broadcasts come from here, too, so that they never clash.
    pub acks: Acks<Socket, OnAck>,
    /// Its timer, and when it fires.
    pub ack_timer: Option<(TimerId, Instant)>,
    /// Broadcasts and other operations that wait for answers.
    pub operations: HashMap<u64, Operation>,
    pub recovery: Option<Box<SocketRecovery>>,
    /// The adapter keeps what recovery needs.
    pub are_sessions_elsewhere: bool,
    /// Its timer, and when it fires.
    pub recovery_timer: Option<(TimerId, Instant)>,
    /// The sockets that are not lost, by the secret with which they come back. Empty without recovery.
    pub by_pid: HashMap<Id, Socket>,
    pub adapter: Option<Box<dyn Adapter>>,
}

impl NamespaceState {
    /// The socket of this secret is lost, or gone.
    pub fn forget_pid(&mut self, pid: &Id) {
        self.by_pid.remove(pid);
        // After thousands of sockets have ended, the table does not keep their memory.
        if self.by_pid.capacity() > 8 * self.by_pid.len().max(32) {
            self.by_pid.shrink_to(2 * self.by_pid.len());
        }
    }
}

impl HasSerial for NamespaceState {
    fn serial(&self) -> u32 {
        self.serial
    }
}

/// A packet that is kept for clients that come back.
#[derive(Clone)]
pub(super) struct StoredPacket {
    /// The whole text packet with the type of Engine.IO.
    pub text: Rc<str>,
    pub attachments: Rc<[Rc<[u8]>]>,
}

/// The log and the sessions of a namespace.
pub(super) type SocketRecovery = Recovery<Option<Box<dyn Data>>, StoredPacket>;

/// Rooms and packets for a socket that has come back. It gets them when it is connected.
pub(super) struct Replay {
    pub rooms: Vec<String>,
    pub missed: Vec<StoredPacket>,
    pub since: Since,
}

/// Where the packets begin that are not in [`Replay::missed`].
pub(super) enum Since {
    /// The first of them in the log of the namespace.
    Here(Offset),
    /// Behind this offset of the adapter.
    Elsewhere(String),
}

/// An operation whose answers are collected.
pub(super) enum Operation {
    Broadcast {
        collection: Collection<Socket, super::OwnedArguments>,
        /// It is not known which nodes have got it.
        is_cut_off: bool,
        timer: Option<TimerId>,
        done: OnAnswers,
    },
    /// A broadcast of another node.
    Relayed {
        waiting: HashSet<Socket>,
        timer: Option<TimerId>,
        on_answer: OnRelayedAnswer,
    },
    Fetch {
        found: Vec<RemoteSocket>,
        nodes: Nodes,
        timer: Option<TimerId>,
        done: OnFetched,
    },
    AllRooms {
        found: BTreeSet<String>,
        nodes: Nodes,
        timer: Option<TimerId>,
        done: OnRooms,
    },
    ServerSide {
        answers: Vec<Value>,
        nodes: Nodes,
        timer: Option<TimerId>,
        done: OnServerAnswers,
    },
}

/// The other nodes that answer an operation.
pub(super) struct Nodes {
    /// How many there are. `None`: not known yet.
    pub expected: Option<usize>,
    pub answered: usize,
    /// It is not known which nodes there are, and will not be.
    pub is_cut_off: bool,
}

impl Nodes {
    pub fn new(expected: Option<usize>) -> Nodes {
        Nodes { expected, answered: 0, is_cut_off: false }
    }

    /// All have answered.
    pub fn is_complete(&self) -> bool {
        !self.is_cut_off && self.expected.is_some_and(|expected| self.answered >= expected)
    }

    /// No answer is waited for.
    pub fn is_settled(&self) -> bool {
        self.is_cut_off || self.is_complete()
    }
}

pub(super) type OnAnswers = Box<dyn FnOnce(&mut Loop, Answers)>;
pub(super) type OnRelayedAnswer = Box<dyn FnMut(&mut Loop, super::OwnedArguments)>;
pub(super) type OnFetched = Box<dyn FnOnce(&mut Loop, Vec<RemoteSocket>)>;
pub(super) type OnRooms = Box<dyn FnOnce(&mut Loop, Vec<String>)>;
pub(super) type OnServerAnswers = Box<dyn FnOnce(&mut Loop, super::ServerAnswers)>;
pub(super) type OnAck = Box<dyn FnOnce(&mut Loop, Socket, AckResult<'_>)>;

/// The life of a socket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stage {
    /// The middleware of this number decides, or has still to be called.
    Connecting {
        next: u32,
        is_running: bool,
    },
    Connected,
    /// It is disconnected, and its last callbacks follow.
    Disconnected(DisconnectReason),
}

/// A client in one namespace.
pub(super) struct SocketState {
    pub serial: u32,
    pub namespace: Namespace,
    pub session: Session,
    pub id: SocketId,
    /// The secret with which the client comes back after a loss.
    pub pid: Option<Id>,
    pub stage: Stage,
    pub is_recovered: bool,
    /// The kept packets that were sent to it.
    pub sent: Sent,
    /// The offset of the next packet that was kept, when it left its rooms.
    pub lost_at: Option<Offset>,
    /// Whether it has got an event without an offset that the adapter may keep.
    pub certainty: Certainty,
    /// Rooms and packets that it gets back when it is connected.
    pub replay: Option<Box<Replay>>,
    /// See [`Handshake`](super::Handshake).
    pub handshake: TextId,
    /// The data of the client's CONNECT, as JSON.
    pub auth: Option<Box<str>>,
    pub data: Option<Box<dyn Data>>,
    pub listeners: Option<Box<Listeners>>,
    /// The rooms in which it was, while it is being disconnected.
    pub last_rooms: Option<Box<[String]>>,
}

/// Whether a socket that comes back could get an event twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Certainty {
    /// It is certain what it has got.
    Certain,
    /// It is certain again behind the next event with an offset.
    UntilOffset,
    /// An event that it has got may still be added behind others: see
    /// [`Placement::Unknown`](super::adapter::Placement::Unknown).
    Unsettled,
}

impl HasSerial for SocketState {
    fn serial(&self) -> u32 {
        self.serial
    }
}

impl SocketState {
    pub fn is_connected(&self) -> bool {
        self.stage == Stage::Connected
    }
}

/// A client: one session with its sockets.
pub(super) struct Client {
    pub session: Session,
    pub server: u32,
    /// See [`Handshake`](super::Handshake).
    pub handshake: TextId,
    pub revision: Revision,
    /// The sockets with their namespaces. Most clients have one.
    pub sockets: SmallVec<[(Namespace, Socket); 1]>,
    /// The names of namespaces from which the server has disconnected it, the last one first: packets for them may be
    /// on their way.
    pub left: Vec<Rc<str>>,
    /// The namespaces that it joins when its lost state is found.
    pub returning: Vec<Namespace>,
    /// A packet whose attachments are still to come.
    pub reconstructor: Reconstructor,
    /// The time in which it must join a namespace.
    pub timer: Option<TimerId>,
    /// Events that were delivered in this turn.
    pub burst: Burst,
}

/// Counts the events of a client in one turn.
#[derive(Clone, Copy, Default)]
pub(super) struct Burst {
    pub turn: u64,
    pub events: u32,
}

/// Data that the program keeps with a socket: any type that can be written as JSON, so that other nodes can see it.
pub(super) trait Data: Any {
    fn to_json(&self) -> Value;
    fn as_any(&self) -> &dyn Any;
    fn as_any_mut(&mut self) -> &mut dyn Any;
}

impl<T: Any + Serialize> Data for T {
    fn to_json(&self) -> Value {
        serde_json::to_value(self).unwrap_or_default()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }
}

impl Registry {
    /// Whether there is a client, a socket, a namespace that exists on demand, or an acknowledgement that is waited
    /// for.
    #[cfg(any(test, fuzzing))]
    pub fn holds_anything(&self) -> bool {
        let is_busy = |namespace: &NamespaceState| {
            namespace.parent.is_some()
                || namespace.socket_count > 0
                || namespace.returning_count > 0
                || !namespace.rooms.is_empty()
                || !namespace.acks.is_empty()
                || !namespace.operations.is_empty()
        };
        let has_clients = self.client_count > 0 || self.sockets.len() > 0 || !self.handshakes.is_empty();
        has_clients || self.namespaces.iter().any(|(_, state)| is_busy(state))
    }

    /// The recovery of a namespace of this server, if its options say so.
    pub fn new_recovery(&mut self, server: u32) -> Option<Box<SocketRecovery>> {
        let options = self.servers[server as usize].options.clone();
        let recovery = options.recovery.as_ref()?;
        let limits = Limits {
            max_disconnection_duration: recovery.max_disconnection,
            detection_time: options.engine.ping_interval + options.engine.ping_timeout,
            max_bytes: recovery.max_bytes,
            ..Limits::default()
        };
        let random =
            self.random.random().inspect_err(|error| log::error!(target: "bucle::socket_io", "{error}")).ok()?;
        Some(Box::new(Recovery::new(limits, random)))
    }

    #[inline]
    pub fn socket(&self, socket: Socket) -> Option<&SocketState> {
        self.sockets.get(socket.0)
    }

    #[inline]
    pub fn socket_mut(&mut self, socket: Socket) -> Option<&mut SocketState> {
        self.sockets.get_mut(socket.0)
    }

    #[inline]
    pub fn client(&self, session: Session) -> Option<&Client> {
        let client = self.clients.get(session.key().slot())?.as_ref()?;
        (client.session == session).then_some(client)
    }

    #[inline]
    pub fn client_mut(&mut self, session: Session) -> Option<&mut Client> {
        let client = self.clients.get_mut(session.key().slot())?.as_mut()?;
        (client.session == session).then_some(client)
    }

    pub fn add_client(&mut self, client: Client) {
        let slot = client.session.key().slot();
        if self.clients.len() <= slot {
            grow_vec(&mut self.clients, slot + 1);
            self.clients.resize_with(slot + 1, || None);
        }
        self.clients[slot] = Some(client);
        self.client_count += 1;
    }

    pub fn remove_client(&mut self, session: Session) -> Option<Client> {
        self.client(session)?;
        let client = self.clients[session.key().slot()].take()?;
        self.client_count -= 1;
        self.handshakes.release(client.handshake);
        if self.client_count == 0 {
            free_vec(&mut self.clients);
        }
        Some(client)
    }

    pub fn add_socket(&mut self, state: SocketState) -> Socket {
        self.handshakes.hold(state.handshake);
        if let Some(namespace) = self.namespace_mut(state.namespace) {
            namespace.socket_count += 1;
        }
        Socket(self.sockets.insert(state))
    }

    /// Removes a socket whose last callback has run.
    pub fn remove_socket(&mut self, socket: Socket) {
        let Some(state) = self.sockets.remove(socket.0) else { return };
        self.handshakes.release(state.handshake);
        if let Some(namespace) = self.namespace_mut(state.namespace) {
            namespace.socket_count -= 1;
        }
    }

    /// The listeners of a socket's namespace.
    #[inline]
    pub fn list_of(&self, socket: Socket) -> Option<&Listeners> {
        let namespace = self.namespaces.get(self.socket(socket)?.namespace.0)?;
        self.lists.get(namespace.list as usize)
    }

    /// Callbacks of a socket: those of its namespace, and then its own.
    pub fn collect<T: Clone>(&self, socket: Socket, of: impl Fn(&Listeners) -> &Vec<T>) -> Vec<T> {
        let Some(state) = self.socket(socket) else { return Vec::new() };
        let shared = self.list_of(socket).into_iter();
        let own = state.listeners.as_deref().into_iter();
        shared.chain(own).flat_map(|list| of(list).iter().cloned()).collect()
    }

    #[inline]
    pub fn namespace(&self, namespace: Namespace) -> Option<&NamespaceState> {
        self.namespaces.get(namespace.0)
    }

    #[inline]
    pub fn namespace_mut(&mut self, namespace: Namespace) -> Option<&mut NamespaceState> {
        self.namespaces.get_mut(namespace.0)
    }

    /// A serial for a socket or a namespace.
    pub fn serial(&mut self) -> u32 {
        self.next_serial = self.next_serial.wrapping_add(1);
        self.next_serial
    }

    /// Removes a namespace that exists on demand, when its last socket has left. Returns its adapter, which must be
    /// closed.
    pub fn remove_if_empty(&mut self, namespace: Namespace) -> Option<Box<dyn Adapter>> {
        let state = self.namespace(namespace)?;
        let keeps_sessions = state.recovery.as_ref().is_some_and(|recovery| recovery.session_count() > 0);
        let is_used = state.socket_count > 0 || state.returning_count > 0 || !state.operations.is_empty();
        if state.parent.is_none() || is_used || keeps_sessions {
            return None;
        }
        let (server, name) = (state.server as usize, state.name.clone());
        let adapter = self.namespaces.remove(namespace.0).and_then(|state| state.adapter);
        self.servers[server].names.remove(&name);
        self.servers[server].dynamic_count -= 1;
        adapter
    }
}

/// The sockets of this node that a target names.
pub(super) fn select(lp: &Loop, namespace: Namespace, target: &Target, out: &mut Vec<Socket>) {
    if let Some(state) = lp.layer::<Registry>().and_then(|registry| registry.namespace(namespace)) {
        state.rooms.select(&target.rooms, &target.except, out);
    }
}
