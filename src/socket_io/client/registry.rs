//! The clients of a loop, and the sessions that they share. They must be reachable while a callback of the program
//! runs, so the loop owns them.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::buffer::Buffer;
use super::{Auth, Client, ClientOptions, ConnectError};
use crate::engine_io::{ClientSession, SharedJar};
use crate::socket_io::answers::Acks;
use crate::socket_io::backoff::Backoff;
use crate::socket_io::binary::Reconstructor;
use crate::socket_io::event::Event;
use crate::socket_io::{AckResult, DisconnectReason, OwnedArguments};
use crate::websocket::Masks;
use crate::{HasSerial, Key, Loop, Slots, TimerId};

/// All clients of a loop.
#[derive(Default)]
pub(super) struct Registry {
    managers: Slots<ManagerState>,
    clients: Slots<ClientState>,
    next_serial: u32,
    pub random: Masks,
}

/// One server, as clients see it: the session that clients of several namespaces share. Node's `Manager`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Manager(pub Key);

/// The session of a manager.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Link {
    /// There is none, and none is being opened.
    Closed,
    /// The next attempt follows when this timer fires.
    Waiting(TimerId),
    /// It is being opened. `None`: it could not even be begun, and a tick reports that.
    Opening(Option<ClientSession>),
    Open(ClientSession),
}

/// Version 2: the server puts every client into the main namespace.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Main {
    /// It has not said so yet.
    Awaited,
    Joined,
    /// The program has left it, and must ask for it.
    Left,
}

pub(super) struct ManagerState {
    serial: u32,
    /// The URL for the session.
    pub server: Rc<str>,
    /// The query of the URL.
    pub query: Rc<str>,
    pub options: Rc<ClientOptions>,
    /// The cookies of the server, for all sessions, if the options say so.
    pub cookies: Option<SharedJar>,
    pub link: Link,
    /// The session that is being opened is an attempt after a loss, or after a failure.
    pub is_reconnecting: bool,
    pub backoff: Backoff,
    pub clients: Vec<Client>,
    pub main: Main,
    /// A packet whose attachments are still to come.
    pub reconstructor: Reconstructor,
}

impl HasSerial for ManagerState {
    fn serial(&self) -> u32 {
        self.serial
    }
}

/// The life of a client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stage {
    /// It does not want to be connected: not yet, or no longer.
    Idle,
    /// It waits for the session.
    Waiting,
    /// It has asked for its namespace.
    Joining,
    Connected,
}

pub(super) struct ClientState {
    serial: u32,
    pub manager: Manager,
    pub namespace: Rc<str>,
    pub auth: Auth,
    pub stage: Stage,
    /// The server has not answered its CONNECT yet. It may have left since.
    pub is_asked: bool,
    /// The number of the connection: the client has been connected this many times.
    pub connection: u32,
    pub id: Option<Rc<str>>,
    /// The secret with which the server recognizes it after a loss.
    pub pid: Option<String>,
    /// The offset of the last event that it has received.
    pub offset: Option<String>,
    pub is_recovered: bool,
    /// Events that have come before the answer to CONNECT, and their size.
    pub early: Vec<Early>,
    pub early_bytes: usize,
    /// Events that wait until it is connected.
    pub buffer: Buffer,
    /// Events that the server is to acknowledge.
    pub acks: Acks<(), OnAck>,
    /// Its timer, and when it fires.
    pub ack_timer: Option<(TimerId, Instant)>,
    /// Events that are sent one by one, each until it is acknowledged.
    pub retries: VecDeque<Retry>,
    pub retry_bytes: usize,
    pub listeners: Listeners,
    /// A tick removes it.
    pub is_released: bool,
}

impl HasSerial for ClientState {
    fn serial(&self) -> u32 {
        self.serial
    }
}

/// An event that has come before the answer to CONNECT.
pub(super) struct Early {
    pub name: Box<str>,
    pub arguments: OwnedArguments,
    pub id: Option<u64>,
}

impl Early {
    /// Its memory, in bytes.
    pub fn size(&self) -> usize {
        size_of::<Early>() + self.name.len() + size_of_arguments(&self.arguments)
    }
}

/// How many bytes arguments have.
pub(super) fn size_of_arguments(arguments: &OwnedArguments) -> usize {
    let arguments = arguments.as_arguments();
    arguments.as_json().len() + arguments.attachments().iter().map(Vec::len).sum::<usize>()
}

/// An event that is sent again until it is acknowledged.
pub(super) struct Retry {
    pub name: Box<str>,
    pub arguments: OwnedArguments,
    pub timeout: Duration,
    /// How often it was sent.
    pub attempts: u32,
    /// It was sent, and its acknowledgement is still to come.
    pub is_pending: bool,
    pub done: Option<OnAck>,
}

impl Retry {
    /// Its memory, in bytes.
    pub fn size(&self) -> usize {
        size_of::<Retry>() + self.name.len() + size_of_arguments(&self.arguments)
    }
}

pub(super) type OnAck = Box<dyn FnOnce(&mut Loop, Client, AckResult<'_>)>;
pub(super) type OnClient = Rc<RefCell<dyn FnMut(&mut Loop, Client)>>;
pub(super) type OnEvent = Rc<RefCell<dyn FnMut(&mut Loop, Client, &mut Event<'_>)>>;
pub(super) type OnConnectError = Rc<RefCell<dyn FnMut(&mut Loop, Client, &ConnectError)>>;
pub(super) type OnDisconnect = Rc<RefCell<dyn FnMut(&mut Loop, Client, DisconnectReason)>>;
pub(super) type OnAttempt = Rc<RefCell<dyn FnMut(&mut Loop, Client, u32)>>;

/// A listener for one event.
#[derive(Clone)]
pub(super) struct EventListener {
    pub call: OnEvent,
    pub is_once: bool,
}

/// The program's listeners for the events of a client.
#[derive(Default)]
pub(super) struct Listeners {
    pub events: HashMap<Box<str>, Vec<EventListener>>,
    pub any: Vec<OnEvent>,
    pub any_outgoing: Vec<OnEvent>,
    pub on_connect: Vec<OnClient>,
    pub on_connect_error: Vec<OnConnectError>,
    pub on_disconnect: Vec<OnDisconnect>,
    pub on_drain: Vec<OnClient>,
    pub on_upgrade: Vec<OnClient>,
    pub on_reconnect_attempt: Vec<OnAttempt>,
    pub on_reconnect: Vec<OnAttempt>,
    pub on_reconnect_error: Vec<OnConnectError>,
    pub on_reconnect_failed: Vec<OnClient>,
}

impl ClientState {
    pub fn is_connected(&self) -> bool {
        self.stage == Stage::Connected
    }

    /// Takes the events that have come before the answer to CONNECT.
    pub fn take_early(&mut self) -> Vec<Early> {
        self.early_bytes = 0;
        std::mem::take(&mut self.early)
    }

    /// What waits for an acknowledgement of the server.
    pub fn into_waiting(mut self) -> Vec<OnAck> {
        let mut waiting = self.acks.drain_where((), |_| true);
        waiting.extend(self.retries.into_iter().filter_map(|retry| retry.done));
        waiting
    }

    /// It wants to be connected.
    pub fn is_active(&self) -> bool {
        self.stage != Stage::Idle
    }
}

impl Registry {
    fn serial(&mut self) -> u32 {
        self.next_serial = self.next_serial.wrapping_add(1);
        self.next_serial
    }

    pub fn add_manager(&mut self, server: String, query: String, options: ClientOptions) -> Manager {
        let (min, max) = (options.reconnection_delay, options.reconnection_delay_max);
        let state = ManagerState {
            serial: self.serial(),
            server: server.into(),
            query: query.into(),
            backoff: Backoff::new(min, max, options.randomization_factor),
            cookies: options.engine.with_credentials.then(SharedJar::default),
            options: Rc::new(options),
            link: Link::Closed,
            is_reconnecting: false,
            clients: Vec::new(),
            main: Main::Awaited,
            reconstructor: Reconstructor::default(),
        };
        Manager(self.managers.insert(state))
    }

    pub fn add_client(&mut self, manager: Manager, namespace: &str, auth: Auth) -> Client {
        let state = ClientState {
            serial: self.serial(),
            manager,
            namespace: namespace.into(),
            auth,
            stage: Stage::Idle,
            is_asked: false,
            connection: 0,
            id: None,
            pid: None,
            offset: None,
            is_recovered: false,
            early: Vec::new(),
            early_bytes: 0,
            buffer: Buffer::default(),
            acks: Acks::default(),
            ack_timer: None,
            retries: VecDeque::new(),
            retry_bytes: 0,
            listeners: Listeners::default(),
            is_released: false,
        };
        let client = Client(self.clients.insert(state));
        if let Some(state) = self.manager_mut(manager) {
            state.clients.push(client);
        }
        client
    }

    /// Removes a client, and its manager if it was the last one.
    pub fn remove(&mut self, client: Client) -> Option<ClientState> {
        let state = self.clients.remove(client.0)?;
        let manager = self.manager_mut(state.manager)?;
        manager.clients.retain(|other| *other != client);
        if manager.clients.is_empty() {
            self.managers.remove(state.manager.0);
        }
        Some(state)
    }

    #[cfg(any(test, fuzzing))]
    pub fn holds_anything(&self) -> bool {
        self.managers.len() > 0 || self.clients.len() > 0
    }

    pub fn manager(&self, manager: Manager) -> Option<&ManagerState> {
        self.managers.get(manager.0)
    }

    pub fn manager_mut(&mut self, manager: Manager) -> Option<&mut ManagerState> {
        self.managers.get_mut(manager.0)
    }

    #[inline]
    pub fn client(&self, client: Client) -> Option<&ClientState> {
        self.clients.get(client.0)
    }

    #[inline]
    pub fn client_mut(&mut self, client: Client) -> Option<&mut ClientState> {
        self.clients.get_mut(client.0)
    }

    /// The client of a namespace. One that is released is not found: another one may have its namespace already.
    pub fn find(&self, manager: Manager, namespace: &str) -> Option<Client> {
        let is_meant = |state: &ClientState| !state.is_released && &*state.namespace == namespace;
        let clients = &self.manager(manager)?.clients;
        clients.iter().copied().find(|client| self.client(*client).is_some_and(is_meant))
    }

    /// The session of a client, if it is open.
    pub fn session_of(&self, client: Client) -> Option<ClientSession> {
        match self.manager(self.client(client)?.manager)?.link {
            Link::Open(session) => Some(session),
            _ => None,
        }
    }

    /// A random number from 0 up to, and without, 1.
    pub fn random_number(&mut self) -> f64 {
        // Without a random source the delay has no jitter.
        let bytes = self.random.random().unwrap_or_default();
        (u64::from_le_bytes(bytes) >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[inline]
pub(super) fn get(lp: &Loop, client: Client) -> Option<&ClientState> {
    lp.layer::<Registry>()?.client(client)
}

#[inline]
pub(super) fn get_mut(lp: &mut Loop, client: Client) -> Option<&mut ClientState> {
    lp.layer_mut::<Registry>().client_mut(client)
}
