//! The clients of a loop: their requests, and which connection is free for which host.
//!
//! ```text
//!   Clients ─┬─ requests: id ─▶ Pending { its bytes, its callback, its connection }
//!            └─ clients ─▶ ClientState ─▶ hosts: "localhost:8080" ─▶ Host { idle connections, waiting requests }
//! ```
//!
//! This file keeps the books. `connection.rs` acts on sockets.

use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

use super::response::ClientResponse;
use super::{Client, ClientOptions, RequestId};
use crate::http::head::Method;
use crate::http::url::Target;
use crate::net::Socket;
use crate::{Loop, Result, TimerId};

/// How many idle connections to one host are kept: Node's `maxFreeSockets`.
const MAX_IDLE: usize = 256;

/// The table of requests keeps room for this many. The memory of thousands is given back.
const FEW_REQUESTS: usize = 32;

type OnResponse = Box<dyn FnOnce(&mut Loop, Result<ClientResponse>)>;

/// All clients of a loop, and their requests.
#[derive(Default)]
pub(super) struct Clients {
    /// The last number that was given to a client or to a request.
    last: u64,
    clients: HashMap<Client, ClientState>,
    requests: HashMap<RequestId, Pending>,
}

/// A request whose callback is still to come.
pub(super) struct Pending {
    pub client: Client,
    /// The authority of its URL: the key of its [`Host`].
    pub host: Rc<str>,
    pub method: Method,
    /// The head, until it is sent. Empty after that, unless the request may be sent once more.
    pub head: Vec<u8>,
    /// As the head.
    pub body: Vec<u8>,
    pub timer: Option<TimerId>,
    /// `None`: it waits for a connection.
    pub connection: Option<Socket>,
    pub is_unreferenced: bool,
    pub on_response: OnResponse,
}

struct ClientState {
    options: ClientOptions,
    is_released: bool,
    hosts: HashMap<Rc<str>, Host>,
}

/// A host and port. It is removed when there is neither a connection nor a request to it.
struct Host {
    /// Where to connect to.
    name: String,
    port: u16,
    /// How many requests have a callback that is still to come.
    requests: usize,
    /// How many connections there are: busy, idle and those that are being made.
    connections: usize,
    /// The one that was used last is at the end, and is used next.
    idle: Vec<Socket>,
    waiting: VecDeque<RequestId>,
}

impl Clients {
    pub fn add(&mut self, options: ClientOptions) -> Client {
        self.last += 1;
        let client = Client(self.last);
        self.clients.insert(client, ClientState { options, is_released: false, hosts: HashMap::new() });
        client
    }

    /// The options, unless the client was released.
    pub fn options(&self, client: Client) -> Option<&ClientOptions> {
        self.clients.get(&client).filter(|state| !state.is_released).map(|state| &state.options)
    }

    /// The limit of the body of a response.
    pub fn max_body(&self, client: Client) -> usize {
        self.clients.get(&client).map_or(0, |state| state.options.max_body)
    }

    /// Releases a client. Returns its idle connections, which are to be closed.
    pub fn release(&mut self, client: Client) -> Vec<Socket> {
        let Some(state) = self.clients.get_mut(&client) else { return Vec::new() };
        state.is_released = true;
        let idle = state.hosts.values().flat_map(|host| host.idle.iter().copied()).collect();
        if state.hosts.is_empty() {
            self.clients.remove(&client);
        }
        idle
    }

    pub fn next_id(&mut self) -> RequestId {
        self.last += 1;
        RequestId(self.last)
    }

    /// Adds a request. It has no connection, and does not wait for one yet.
    pub fn begin(&mut self, id: RequestId, pending: Pending, target: Target) {
        if let Some(state) = self.clients.get_mut(&pending.client) {
            let host = state.hosts.entry(pending.host.clone()).or_insert_with(|| Host {
                name: target.host,
                port: target.port,
                requests: 0,
                connections: 0,
                idle: Vec::new(),
                waiting: VecDeque::new(),
            });
            host.requests += 1;
        }
        self.requests.insert(id, pending);
    }

    #[cfg(any(test, fuzzing))]
    pub fn holds_anything(&self) -> bool {
        !self.clients.is_empty() || !self.requests.is_empty()
    }

    pub fn has(&self, id: RequestId) -> bool {
        self.requests.contains_key(&id)
    }

    pub fn pending_mut(&mut self, id: RequestId) -> Option<&mut Pending> {
        self.requests.get_mut(&id)
    }

    /// Takes a request out: its callback is called, or it was aborted.
    pub fn end(&mut self, id: RequestId) -> Option<Pending> {
        let pending = self.requests.remove(&id)?;
        if self.requests.is_empty() {
            self.requests.shrink_to(FEW_REQUESTS);
        }
        if let Some(host) = self.host(pending.client, &pending.host) {
            host.requests -= 1;
            if pending.connection.is_none()
                && let Some(place) = host.waiting.iter().position(|other| *other == id)
            {
                host.waiting.remove(place);
            }
        }
        self.remove_if_unused(pending.client, &pending.host);
        Some(pending)
    }

    fn host(&mut self, client: Client, host: &str) -> Option<&mut Host> {
        self.clients.get_mut(&client)?.hosts.get_mut(host)
    }

    /// Whether requests wait for a connection to this host.
    pub fn has_waiting(&mut self, client: Client, host: &str) -> bool {
        self.host(client, host).is_some_and(|host| !host.waiting.is_empty())
    }

    pub fn take_waiting(&mut self, client: Client, host: &str) -> Option<RequestId> {
        self.host(client, host)?.waiting.pop_front()
    }

    pub fn wait(&mut self, id: RequestId) {
        let Some((client, host)) = self.requests.get(&id).map(|pending| (pending.client, pending.host.clone())) else {
            return;
        };
        if let Some(host) = self.host(client, &host) {
            host.waiting.push_back(id);
        }
    }

    pub fn take_idle(&mut self, client: Client, host: &str) -> Option<Socket> {
        self.host(client, host)?.idle.pop()
    }

    /// Whether one more connection to this host may be made.
    pub fn may_connect(&mut self, client: Client, host: &str) -> bool {
        let Some(limit) = self.clients.get(&client).map(|state| state.options.max_connections) else { return false };
        self.host(client, host).is_some_and(|host| limit.is_none_or(|limit| host.connections < limit.max(1)))
    }

    /// Where to connect to.
    pub fn address(&mut self, client: Client, host: &str) -> Option<(String, u16)> {
        self.host(client, host).map(|host| (host.name.clone(), host.port))
    }

    pub fn connection_made(&mut self, client: Client, host: &str) {
        if let Some(host) = self.host(client, host) {
            host.connections += 1;
        }
    }

    /// Stores a connection whose response is complete. Returns whether it is kept.
    pub fn store_idle(&mut self, client: Client, host: &str, socket: Socket) -> bool {
        if self.options(client).is_none() {
            return false;
        }
        let Some(host) = self.host(client, host).filter(|host| host.idle.len() < MAX_IDLE) else { return false };
        host.idle.push(socket);
        true
    }

    /// A connection is gone, idle or not.
    pub fn connection_gone(&mut self, client: Client, host: &str, socket: Socket) {
        if let Some(host) = self.host(client, host) {
            host.connections -= 1;
            host.idle.retain(|other| *other != socket);
        }
        self.remove_if_unused(client, host);
    }

    /// Removes a host without connections and requests, and after its release a client without hosts.
    fn remove_if_unused(&mut self, client: Client, host: &str) {
        let Some(state) = self.clients.get_mut(&client) else { return };
        if state.hosts.get(host).is_some_and(|host| host.connections == 0 && host.requests == 0) {
            state.hosts.remove(host);
        }
        if state.is_released && state.hosts.is_empty() {
            self.clients.remove(&client);
        }
    }
}
