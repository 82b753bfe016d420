//! The client: it connects to a namespace of a server, sends and receives events, and connects again after a loss.

mod acks;
mod buffer;
mod listeners;
mod location;
mod manager;
mod registry;
mod retry;
mod send;

use std::borrow::Cow;
use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value};

use super::arguments::IntoArguments;
use super::event::Event;
use super::{AckError, AckResult, DisconnectReason, encode, names};
use crate::engine_io::{self, ClientSession, Transport};
use crate::{Error, Key, Loop, Result};
use location::Location;
use registry::{ClientState, EventListener, Listeners, OnAck, OnEvent, Registry, get, get_mut};

/// A handle of a client in one namespace. 8 bytes, `Copy`; callbacks get it as an argument. It never names another
/// client.
///
/// Node: [the Socket instance of a client](https://socket.io/docs/v4/client-socket-instance/).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Client(Key);

/// The options of a client. The names and defaults are those of
/// [`socket.io-client`](https://socket.io/docs/v4/client-options/).
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// The options of the session below: transports, path, query, headers, the time limit of an attempt, and the
    /// revision, which is [`Revision::V3`](engine_io::Revision::V3) for servers of Socket.IO 2. Default: those of
    /// `socket.io-client`, with the path `/socket.io/`.
    #[doc(alias = "transports")]
    #[doc(alias = "extraHeaders")]
    pub engine: engine_io::ClientOptions,
    /// The credentials for the server's middlewares (`socket.handshake.auth`). Default: none.
    pub auth: Auth,
    /// Whether [`connect`] and [`Client::of`] connect at once. Default: `true`.
    #[doc(alias = "autoConnect")]
    pub auto_connect: bool,
    /// Whether the client connects again after a loss, and after a failure. Default: `true`.
    pub reconnection: bool,
    /// After how many attempts in a row it gives up. Default: `None`, never.
    #[doc(alias = "reconnectionAttempts")]
    pub reconnection_attempts: Option<u32>,
    /// The delay before the first attempt; each further one is twice as long. Default: 1 s.
    #[doc(alias = "reconnectionDelay")]
    pub reconnection_delay: Duration,
    /// The longest delay. Default: 5 s.
    #[doc(alias = "reconnectionDelayMax")]
    pub reconnection_delay_max: Duration,
    /// The part by which a delay is shorter or longer at random, from 0 to 1. Default: 0.5.
    #[doc(alias = "randomizationFactor")]
    pub randomization_factor: f64,
    /// The time limit of acknowledgements that are awaited without one of their own. Default: `None`, no limit.
    #[doc(alias = "ackTimeout")]
    pub ack_timeout: Option<Duration>,
    /// How often an event is sent again if it is not acknowledged in time. Then events are sent one by one, and each is
    /// acknowledged by the server; [`ack_timeout`](Self::ack_timeout) must be set, and volatile events are not sent
    /// again. An event may arrive more than once. Default: 0.
    pub retries: u32,
    /// How many bytes of events are kept while the client is not connected. Default: 1 MiB.
    pub max_buffer: usize,
}

impl Default for ClientOptions {
    fn default() -> Self {
        ClientOptions {
            engine: engine_io::ClientOptions { path: "/socket.io/".to_owned(), ..engine_io::ClientOptions::default() },
            auth: Auth::default(),
            auto_connect: true,
            reconnection: true,
            reconnection_attempts: None,
            reconnection_delay: Duration::from_secs(1),
            reconnection_delay_max: Duration::from_secs(5),
            randomization_factor: 0.5,
            ack_timeout: None,
            retries: 0,
            max_buffer: 1024 * 1024,
        }
    }
}

/// The credentials with which a client joins a namespace: a value, or a function that makes it for each attempt, for
/// tokens that expire.
///
/// ```
/// use bucle::socket_io::{Auth, ClientOptions};
/// use serde_json::json;
///
/// let fixed = ClientOptions { auth: Auth::new(json!({ "token": "secret" })), ..ClientOptions::default() };
/// let fresh = ClientOptions { auth: Auth::with(|_| json!({ "token": "secret" })), ..ClientOptions::default() };
/// ```
#[derive(Clone, Default)]
pub struct Auth(Source);

#[derive(Clone, Default)]
enum Source {
    #[default]
    Nothing,
    Value(Rc<Value>),
    Function(MakeAuth),
}

type MakeAuth = Rc<RefCell<dyn FnMut(&mut Loop) -> Value>>;

impl Auth {
    /// The same value for each attempt. It must be a JSON object; another value is not sent, with a line in the log.
    pub fn new(value: impl Serialize) -> Auth {
        Auth(Source::Value(Rc::new(serde_json::to_value(value).unwrap_or_default())))
    }

    /// A function that is called before each attempt.
    pub fn with<T: Serialize>(mut make: impl FnMut(&mut Loop) -> T + 'static) -> Auth {
        let make = move |lp: &mut Loop| serde_json::to_value(make(lp)).unwrap_or_default();
        Auth(Source::Function(Rc::new(RefCell::new(make))))
    }

    /// The object for one attempt.
    fn make(&self, lp: &mut Loop) -> Option<Map<String, Value>> {
        let value = match &self.0 {
            Source::Nothing => return None,
            Source::Value(value) => Value::clone(value),
            Source::Function(make) => make.try_borrow_mut().map(|mut make| make(lp)).unwrap_or_default(),
        };
        match value {
            Value::Object(object) => Some(object),
            _ => {
                log::error!(target: "bucle::socket_io", "`auth` is no JSON object and is not sent");
                None
            }
        }
    }
}

impl fmt::Debug for Auth {
    /// Without the value, which is a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Source::Nothing => "Auth(nothing)",
            Source::Value(_) => "Auth(a value)",
            Source::Function(_) => "Auth(a function)",
        })
    }
}

/// Why a client could not connect.
#[derive(Clone, PartialEq, Debug)]
pub struct ConnectError {
    message: String,
    code: Cow<'static, str>,
    data: Option<Value>,
}

impl ConnectError {
    /// The code of an error of a middleware of the server.
    const REFUSED: &'static str = "E_REFUSED";

    fn of_session(error: &Error) -> ConnectError {
        ConnectError { message: error.to_string(), code: error.code().to_owned().into(), data: None }
    }

    fn of_server(message: String, data: Option<Value>) -> ConnectError {
        ConnectError { message, code: ConnectError::REFUSED.into(), data }
    }

    /// The message: of the server if it has refused the client, or of what has failed below.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The code of what has failed: `ECONNREFUSED`, `ENOTFOUND`, `ETIMEDOUT`, …; `E_REFUSED` if the server has refused
    /// the client.
    pub fn code(&self) -> &str {
        &self.code
    }

    /// The data that a middleware of the server has added.
    pub fn data(&self) -> Option<&Value> {
        self.data.as_ref()
    }

    /// Whether the server has refused the client. Then it does not connect again by itself; [`Client::connect`] does.
    pub fn is_refusal(&self) -> bool {
        self.code == ConnectError::REFUSED
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ConnectError {}

/// Whether there is a client.
#[cfg(any(test, fuzzing))]
pub(crate) fn client_holds_anything(lp: &Loop) -> bool {
    lp.layer::<Registry>().is_some_and(Registry::holds_anything)
}

/// Makes a client of a namespace, and connects it: `http://host:port/namespace?query`. The schemes `sio` and `ws` mean
/// the same as `http`. The query is that of all requests.
///
/// Its listeners are added behind this call: nothing is called back before the program returns to the loop. The client
/// lives until [`Client::release`], also while it is not connected.
///
/// # Errors
/// `ERR_INVALID_URL`: the URL or the path is not valid. `https://` is refused: there is no TLS.
/// `ERR_INVALID_ARG_VALUE`: there are no transports.
#[doc(alias = "io")]
#[doc(alias = "Manager")]
pub fn connect(lp: &mut Loop, url: &str, options: ClientOptions) -> Result<Client> {
    let location = Location::parse(url).map_err(|error| Error::custom("ERR_INVALID_URL", error.to_string()))?;
    engine_io::check_client_options(&location.server, &options.engine)?;
    let (auto_connect, auth) = (options.auto_connect, options.auth.clone());
    let registry = lp.layer_mut::<Registry>();
    let manager = registry.add_manager(location.server, location.query, options);
    let client = registry.add_client(manager, &location.namespace, auth);
    if auto_connect {
        client.connect(lp);
    }
    Ok(client)
}

impl Client {
    /// The client of another namespace over the same session, with the same options. It is made if it does not exist,
    /// and connects at once if [`ClientOptions::auto_connect`] is set. A missing slash in front is added.
    ///
    /// # Errors
    /// `ERR_INVALID_ARG_VALUE`: the name contains a comma. [`Error::Gone`]: this client was released.
    #[doc(alias = "socket")]
    pub fn of(self, lp: &mut Loop, namespace: &str) -> Result<Client> {
        self.find_or_add(lp, namespace, None)
    }

    /// As [`of`](Self::of), with another [`auth`](ClientOptions::auth). It has no effect on a client that exists.
    ///
    /// # Errors
    /// As [`of`](Self::of).
    pub fn of_with_auth(self, lp: &mut Loop, namespace: &str, auth: Auth) -> Result<Client> {
        self.find_or_add(lp, namespace, Some(auth))
    }

    fn find_or_add(self, lp: &mut Loop, namespace: &str, auth: Option<Auth>) -> Result<Client> {
        let namespace = names::with_slash(namespace);
        if !location::is_name(&namespace) {
            return Err(Error::custom("ERR_INVALID_ARG_VALUE", "the name of a namespace cannot contain a comma"));
        }
        let registry = lp.layer_mut::<Registry>();
        let manager = registry.client(self).map(|state| state.manager).ok_or(Error::Gone)?;
        if let Some(client) = registry.find(manager, &namespace) {
            return Ok(client);
        }
        let options = registry.manager(manager).map(|state| state.options.clone()).ok_or(Error::Gone)?;
        let client = registry.add_client(manager, &namespace, auth.unwrap_or_else(|| options.auth.clone()));
        if options.auto_connect {
            client.connect(lp);
        }
        Ok(client)
    }

    /// Connects: after [`disconnect`](Self::disconnect), after the server has disconnected or refused the client, or
    /// for the first time. Does nothing if the client is connected, is being connected, or waits for the next attempt.
    #[doc(alias = "open")]
    pub fn connect(self, lp: &mut Loop) {
        manager::connect(lp, self);
    }

    /// Leaves the namespace, and closes the session if no other client uses it. The client does not connect again by
    /// itself. [`on_disconnect`](Self::on_disconnect) follows in a tick if it was connected.
    #[doc(alias = "close")]
    pub fn disconnect(self, lp: &mut Loop) {
        let registry = lp.layer_mut::<Registry>();
        let session = registry.session_of(self);
        let Some(state) = registry.client(self).filter(|state| state.is_active()) else { return };
        let (was_connected, namespace) = (state.is_connected(), state.namespace.clone());
        if let (true, Some(session)) = (was_connected, session) {
            send::control(lp, session, super::packet::PacketType::Disconnect, &namespace, None);
        }
        let lost = manager::leave_namespace(lp, self);
        if was_connected {
            lp.next_tick(move |lp| {
                listeners::call_on_disconnect(lp, self, DisconnectReason::IoClientDisconnect);
                acks::fail(lp, self, lost);
            });
        }
    }

    /// Disconnects, and removes the client with its listeners and all that it has kept, in a tick. From then on the
    /// handle names nothing. Acknowledgements that are still awaited get [`AckError::Disconnected`].
    pub fn release(self, lp: &mut Loop) {
        self.disconnect(lp);
        if let Some(state) = get_mut(lp, self) {
            state.is_released = true;
        }
        lp.next_tick(move |lp| {
            self.disconnect(lp);
            acks::stop(lp, self);
            let state = lp.layer_mut::<Registry>().remove(self);
            // Of events that were never sent.
            acks::fail(lp, self, state.map(ClientState::into_waiting).unwrap_or_default());
        });
    }

    /// Its id, which is that of its socket on the server. `None` while it is not connected.
    #[doc(alias = "socket.id")]
    pub fn id(self, lp: &Loop) -> Option<&str> {
        get(lp, self)?.id.as_deref()
    }

    /// The number of the client, for logs.
    pub fn serial(self) -> u32 {
        self.0.serial()
    }

    /// Whether it is connected.
    #[doc(alias = "connected")]
    pub fn is_connected(self, lp: &Loop) -> bool {
        get(lp, self).is_some_and(|state| state.is_connected())
    }

    /// Whether it is connected, or tries to be.
    #[doc(alias = "active")]
    pub fn is_active(self, lp: &Loop) -> bool {
        get(lp, self).is_some_and(|state| state.is_active())
    }

    /// Whether it was recovered when it connected last: its id, rooms and data on the server are those of before, and
    /// it gets the events that it has missed.
    #[doc(alias = "recovered")]
    pub fn is_recovered(self, lp: &Loop) -> bool {
        get(lp, self).is_some_and(|state| state.is_recovered)
    }

    /// The name of its namespace. `None` when it is released.
    #[doc(alias = "nsp")]
    pub fn namespace(self, lp: &Loop) -> Option<&str> {
        get(lp, self).map(|state| &*state.namespace)
    }

    /// The session below, which the clients of one server share. `None` while there is none that is open.
    #[doc(alias = "io.engine")]
    pub fn session(self, lp: &Loop) -> Option<ClientSession> {
        lp.layer::<Registry>()?.session_of(self)
    }

    /// The transport of its session.
    pub fn transport(self, lp: &Loop) -> Option<Transport> {
        self.session(lp)?.transport(lp)
    }

    /// Sets what the server's middlewares get from the next attempt on.
    pub fn set_auth(self, lp: &mut Loop, auth: Auth) {
        if let Some(state) = get_mut(lp, self) {
            state.auth = auth;
        }
    }

    /// Sends an event. A tuple has several arguments: `("room", 7)`; a single value that is not a string, a number, a
    /// boolean or a JSON value goes into a tuple of one: `(&order,)`.
    ///
    /// While the client is not connected the event is kept, and is sent when it is. Returns `false` if there is no room
    /// ([`ClientOptions::max_buffer`]): then the event is dropped, with a line in the log. While it is connected,
    /// `false` means that the server takes events more slowly than the program sends them; the event is queued all the
    /// same, and [`on_drain`](Self::on_drain) follows. Also returns `false`, and sends nothing, if the name is reserved
    /// or the arguments cannot be written as JSON; both are logged as errors.
    pub fn emit(self, lp: &mut Loop, name: &str, arguments: impl IntoArguments) -> bool {
        if self.retries(lp) > 0 {
            return self.emit_again(lp, name, &arguments, Duration::ZERO, None);
        }
        send::event(lp, self, name, &arguments, false, None)
    }

    /// As [`emit`](Self::emit), if the event can leave now; otherwise it is dropped. For positions and prices, of which
    /// only the newest matters.
    #[doc(alias = "volatile")]
    pub fn emit_volatile(self, lp: &mut Loop, name: &str, arguments: impl IntoArguments) -> bool {
        send::event(lp, self, name, &arguments, true, None)
    }

    /// Sends an event that the server acknowledges. `done` gets its answer, or an error: when `timeout` is over, or
    /// when the client is disconnected after the event was sent. An event that is still kept waits for the next
    /// connection, and is not sent after `timeout`. Zero: [`ClientOptions::ack_timeout`].
    #[doc(alias = "timeout")]
    #[doc(alias = "emitWithAck")]
    pub fn emit_with_ack(
        self,
        lp: &mut Loop,
        name: &str,
        arguments: impl IntoArguments,
        timeout: Duration,
        done: impl FnOnce(&mut Loop, Client, AckResult<'_>) + 'static,
    ) -> bool {
        if self.retries(lp) > 0 {
            return self.emit_again(lp, name, &arguments, timeout, Some(Box::new(done)));
        }
        let timeout = self.ack_timeout(lp, timeout);
        send::event(lp, self, name, &arguments, false, Some((timeout, Box::new(done))))
    }

    fn emit_again(
        self,
        lp: &mut Loop,
        name: &str,
        arguments: &impl IntoArguments,
        timeout: Duration,
        done: Option<OnAck>,
    ) -> bool {
        let timeout = self.ack_timeout(lp, timeout);
        let is_reserved = super::packet::RESERVED_EVENTS.contains(&name);
        match encode::to_owned(arguments).filter(|_| !is_reserved) {
            Some(arguments) => retry::add(lp, self, name, arguments, timeout, done),
            None => {
                if is_reserved {
                    log::error!(target: "bucle::socket_io", "{name:?} is reserved and cannot be emitted");
                }
                if let Some(done) = done {
                    lp.next_tick(move |lp| done(lp, self, Err(AckError::Disconnected)));
                }
                false
            }
        }
    }

    fn options(self, lp: &Loop) -> Option<&ClientOptions> {
        let registry = lp.layer::<Registry>()?;
        Some(&registry.manager(registry.client(self)?.manager)?.options)
    }

    fn retries(self, lp: &Loop) -> u32 {
        self.options(lp).map_or(0, |options| options.retries)
    }

    fn ack_timeout(self, lp: &Loop, timeout: Duration) -> Duration {
        if !timeout.is_zero() {
            return timeout;
        }
        self.options(lp).and_then(|options| options.ack_timeout).unwrap_or_default()
    }

    fn listeners(self, lp: &mut Loop, change: impl FnOnce(&mut Listeners)) {
        if let Some(state) = get_mut(lp, self) {
            change(&mut state.listeners);
        }
    }

    /// Listens for an event.
    ///
    /// After a server with connection state recovery the last argument of an event may be the offset, as in Node: a
    /// string that the server has added. [`Event::parse`] leaves it out.
    pub fn on(self, lp: &mut Loop, name: &str, f: impl FnMut(&mut Loop, Client, &mut Event<'_>) + 'static) {
        self.add(lp, name, Rc::new(RefCell::new(f)), false);
    }

    /// As [`on`](Self::on), for the next event of this name only.
    pub fn once(self, lp: &mut Loop, name: &str, f: impl FnMut(&mut Loop, Client, &mut Event<'_>) + 'static) {
        self.add(lp, name, Rc::new(RefCell::new(f)), true);
    }

    fn add(self, lp: &mut Loop, name: &str, call: OnEvent, is_once: bool) {
        self.listeners(lp, |list| list.events.entry(name.into()).or_default().push(EventListener { call, is_once }));
    }

    /// Removes the listeners for an event.
    #[doc(alias = "removeAllListeners")]
    pub fn off(self, lp: &mut Loop, name: &str) {
        self.listeners(lp, |list| drop(list.events.remove(name)));
    }

    /// Listens for all events, before their own listeners.
    #[doc(alias = "onAny")]
    pub fn on_any(self, lp: &mut Loop, f: impl FnMut(&mut Loop, Client, &mut Event<'_>) + 'static) {
        self.listeners(lp, |list| list.any.push(Rc::new(RefCell::new(f))));
    }

    /// Listens for all events that are sent. Called in a tick behind the method that sends; for events that were kept,
    /// behind the connection.
    #[doc(alias = "onAnyOutgoing")]
    pub fn on_any_outgoing(self, lp: &mut Loop, f: impl FnMut(&mut Loop, Client, &mut Event<'_>) + 'static) {
        self.listeners(lp, |list| list.any_outgoing.push(Rc::new(RefCell::new(f))));
    }

    /// Removes the listeners of [`on_any`](Self::on_any) and [`on_any_outgoing`](Self::on_any_outgoing).
    #[doc(alias = "offAny")]
    #[doc(alias = "offAnyOutgoing")]
    pub fn off_any(self, lp: &mut Loop) {
        self.listeners(lp, |list| {
            list.any.clear();
            list.any_outgoing.clear();
        });
    }

    /// Listens for connections: the first one, and each one after a loss.
    #[doc(alias = "connect")]
    pub fn on_connect(self, lp: &mut Loop, f: impl FnMut(&mut Loop, Client) + 'static) {
        self.listeners(lp, |list| list.on_connect.push(Rc::new(RefCell::new(f))));
    }

    /// Listens for attempts to connect that have failed. If the server has refused the client
    /// ([`ConnectError::is_refusal`]), no other attempt follows. Without a listener the first one of several failures
    /// in a row is reported as not handled, as [`net::Handler::on_error`](crate::net::Handler::on_error) does.
    #[doc(alias = "connect_error")]
    pub fn on_connect_error(self, lp: &mut Loop, f: impl FnMut(&mut Loop, Client, &ConnectError) + 'static) {
        self.listeners(lp, |list| list.on_connect_error.push(Rc::new(RefCell::new(f))));
    }

    /// Listens for the end of a connection. The client connects again by itself if
    /// [`DisconnectReason::reconnects`] returns `true` for the reason.
    #[doc(alias = "disconnect")]
    pub fn on_disconnect(self, lp: &mut Loop, f: impl FnMut(&mut Loop, Client, DisconnectReason) + 'static) {
        self.listeners(lp, |list| list.on_disconnect.push(Rc::new(RefCell::new(f))));
    }

    /// Listens for the moment at which everything is sent, after [`emit`](Self::emit) has returned `false` while the
    /// client was connected.
    #[doc(alias = "drain")]
    pub fn on_drain(self, lp: &mut Loop, f: impl FnMut(&mut Loop, Client) + 'static) {
        self.listeners(lp, |list| list.on_drain.push(Rc::new(RefCell::new(f))));
    }

    /// Listens for the change of the session from polling to WebSocket.
    #[doc(alias = "upgrade")]
    pub fn on_upgrade(self, lp: &mut Loop, f: impl FnMut(&mut Loop, Client) + 'static) {
        self.listeners(lp, |list| list.on_upgrade.push(Rc::new(RefCell::new(f))));
    }

    /// Listens for attempts to connect again, before they are made. The number is that of the attempt, from 1 on.
    #[doc(alias = "reconnect_attempt")]
    pub fn on_reconnect_attempt(self, lp: &mut Loop, f: impl FnMut(&mut Loop, Client, u32) + 'static) {
        self.listeners(lp, |list| list.on_reconnect_attempt.push(Rc::new(RefCell::new(f))));
    }

    /// Listens for sessions that were opened again, before the client is connected. The number is that of the attempt.
    #[doc(alias = "reconnect")]
    pub fn on_reconnect(self, lp: &mut Loop, f: impl FnMut(&mut Loop, Client, u32) + 'static) {
        self.listeners(lp, |list| list.on_reconnect.push(Rc::new(RefCell::new(f))));
    }

    /// Listens for attempts to connect again that have failed, behind [`on_connect_error`](Self::on_connect_error).
    #[doc(alias = "reconnect_error")]
    pub fn on_reconnect_error(self, lp: &mut Loop, f: impl FnMut(&mut Loop, Client, &ConnectError) + 'static) {
        self.listeners(lp, |list| list.on_reconnect_error.push(Rc::new(RefCell::new(f))));
    }

    /// Listens for the last attempt ([`ClientOptions::reconnection_attempts`]) that has failed. Only
    /// [`connect`](Self::connect) makes another one.
    #[doc(alias = "reconnect_failed")]
    pub fn on_reconnect_failed(self, lp: &mut Loop, f: impl FnMut(&mut Loop, Client) + 'static) {
        self.listeners(lp, |list| list.on_reconnect_failed.push(Rc::new(RefCell::new(f))));
    }
}

/// `client #7`, as in the log.
impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "client #{}", self.serial())
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client#{}", self.serial())
    }
}
