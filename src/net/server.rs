//! The handle of a server: everything a program can do with one.
//!
//! ```text
//!   listen ── no host, path: at once ──┐
//!          ── IP: a tick ──────────────┼─▶ bound ─▶ a tick: on_listening
//!          ── name: lookup, poll ──────┘    │
//!                                           ├─▶ accept: on_connection, or on_drop when it is full
//!   drain ─▶ the backlog is accepted, each connection is ended when it is quiet ─▶ close
//!   close ─▶ descriptor closed, file gone ──┴─▶ last connection destroyed ─▶ a tick: on_server_close
//! ```

use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::ops::Deref;
use std::time::Duration;

use super::drain::{Drain, Draining};
use super::endpoint::Resolution;
use super::listener::{Listen, Listener, LocalAddress, open_listener};
use super::lookup::{LookupResult, resolve};
use super::state::NO_SERVER;
use super::tally::Tally;
use super::{Error, HIGH_WATER_MARK, Handler, IntoHandler, Limits, NetTick, Socket, WriteCallback};
use crate::Result;
use crate::event_loop::slots::HasSerial;
use crate::event_loop::token::{Key, TokenKind};
use crate::event_loop::{Kind, Loop};

/// Names a server, for ever ([Node: `net.Server`](https://nodejs.org/docs/latest-v20.x/api/net.html#class-netserver)).
///
/// What callbacks get; 8 bytes, `Copy`. A server that was closed can listen again, until it is
/// [`remove`](ServerId::remove)d.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerId(pub(crate) Key);

/// A server whose handler is an `H`: what [`listen`] gives, to reach the handler's state from a timer or another server.
pub struct Server<H> {
    id: ServerId,
    handler: PhantomData<fn() -> H>,
}

/// What a server is made with; Node's names and defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerOptions {
    /// After the peer's end a socket stays open until the program ends it. Default: no, it answers with its own end.
    #[doc(alias = "allowHalfOpen")]
    pub allow_half_open: bool,
    /// A new socket reads nothing until [`Socket::resume`](super::Socket::resume). Default: no.
    #[doc(alias = "pauseOnConnect")]
    pub pause_on_connect: bool,
    /// Data is delivered as it comes; see [`SocketOptions::flowing`](super::SocketOptions::flowing). Default: true.
    pub flowing: bool,
    /// Small writes are sent at once (`TCP_NODELAY`). Default: no.
    #[doc(alias = "noDelay")]
    pub no_delay: bool,
    /// The kernel asks idle peers whether they are still there (`SO_KEEPALIVE`). Default: no.
    #[doc(alias = "keepAlive")]
    pub keep_alive: bool,
    /// As in [`Socket::set_keep_alive`](super::Socket::set_keep_alive).
    #[doc(alias = "keepAliveInitialDelay")]
    pub keep_alive_initial_delay: Duration,
    /// As [`Socket::set_user_timeout`](super::Socket::set_user_timeout). Default: zero, the system's own.
    pub user_timeout: Duration,
    /// As [`Socket::set_urgent_in_line`](super::Socket::set_urgent_in_line). Default: no, as in Node.
    #[doc(alias = "SO_OOBINLINE")]
    pub urgent_in_line: bool,
    /// Of each socket, both ways. Default: [`HIGH_WATER_MARK`].
    pub high_water_mark: usize,
    /// With this many connections the server is full: further ones are accepted, reported to `on_drop` and closed.
    /// Default: no limit; `Some(0)` is no limit either, as in Node. A server that wants no connections is closed.
    #[doc(alias = "maxConnections")]
    pub max_connections: Option<usize>,
    /// What a full server sends to a connection before it closes it: a line, an HTTP response with status 503. An empty
    /// message is a FIN alone.
    ///
    /// The peer has a second to read it and to answer with its own FIN. At most 16 refused connections of a loop are
    /// open at a time, for each is a descriptor; the next one is closed right after the message, which may then be
    /// lost to a reset. They do not count as connections, no handler sees them, and they keep neither the server nor the
    /// loop alive. Default: `None`, a refused connection is closed without a message, as in Node.
    pub full_message: Option<Vec<u8>>,
    /// The idle limit of new sockets, as [`Socket::set_timeout`](super::Socket::set_timeout). Default: off.
    pub timeout: Duration,
    /// What a connection is sent that has reached its idle limit, before it is ended. An empty message is a FIN alone.
    ///
    /// `on_timeout` comes first, and may end the connection itself. Then the message and a FIN are sent, what the peer
    /// still sends is discarded, and a second later the connection is destroyed if it is still open. Default: `None`,
    /// `on_timeout` decides what happens, as in Node.
    pub idle_message: Option<Vec<u8>>,
    /// How many connections are taken in one turn. Default: 1, as in Node; more costs fewer turns in a storm of connects.
    pub accepts_per_turn: usize,
    /// What each of its connections may cost. Default: no limits.
    pub limits: Limits,
}

impl Default for ServerOptions {
    fn default() -> Self {
        ServerOptions {
            allow_half_open: false,
            pause_on_connect: false,
            flowing: true,
            no_delay: false,
            keep_alive: false,
            keep_alive_initial_delay: Duration::ZERO,
            user_timeout: Duration::ZERO,
            urgent_in_line: false,
            high_water_mark: HIGH_WATER_MARK,
            max_connections: None,
            full_message: None,
            timeout: Duration::ZERO,
            idle_message: None,
            accepts_per_turn: 1,
            limits: Limits::NONE,
        }
    }
}

/// Makes a server and has it listen: sugar for programs. It is bound when this returns, and a binding error comes back
/// instead of going to `on_server_error`. A host name is looked up on the spot, which blocks.
///
/// # Errors
/// Bad port, name not found, address in use (`EADDRINUSE`), not ours (`EADDRNOTAVAIL`), forbidden (`EACCES`).
#[doc(alias = "createServer")]
pub fn listen<T: IntoHandler>(lp: &mut Loop, on: impl Into<Listen>, handler: T) -> Result<Server<T::Handler>> {
    listen_with(lp, on, ServerOptions::default(), handler)
}

/// As [`listen`], with options. Of a server that cannot listen nothing is left.
///
/// # Errors
/// As [`listen`].
pub fn listen_with<T: IntoHandler>(
    lp: &mut Loop,
    on: impl Into<Listen>,
    options: ServerOptions,
    handler: T,
) -> Result<Server<T::Handler>> {
    let server = Server::new(lp, options, handler);
    match server.listen_now(lp, on) {
        Ok(()) => Ok(server),
        Err(error) => {
            server.remove(lp);
            Err(error)
        }
    }
}

impl<H: Handler> Server<H> {
    /// A server that does not listen yet.
    pub fn new(lp: &mut Loop, options: ServerOptions, handler: impl IntoHandler<Handler = H>) -> Server<H> {
        let handler = handler.into_slot(lp);
        let serial = lp.net.take_serial();
        let state = ServerState {
            serial,
            handler,
            max_connections: options.max_connections.unwrap_or(0),
            options,
            listener: Listener::None,
            connections: 0,
            is_unreferenced: false,
            is_counted: false,
            is_looking_up: false,
            is_ready: false,
            accepts_later: false,
            gone_in_a_row: 0,
            listening_id: 0,
            close_callbacks: Vec::new(),
            drain: None,
            refused: Tally::default(),
            idle: Tally::default(),
        };
        let id = ServerId(lp.net.servers.insert(state));
        Server { id, handler: PhantomData }
    }

    /// The untyped handle; what it can do, this one can, too.
    pub fn id(self) -> ServerId {
        self.id
    }

    /// Lends the handler to `f`, from a timer or another server's callback. `None` inside its own callback, where `self`
    /// is the handler, and after [`ServerId::remove`].
    pub fn with<R>(self, lp: &mut Loop, f: impl FnOnce(&mut H, &mut Loop) -> R) -> Option<R> {
        let slot = lp.net.server(self.id)?.handler;
        lp.with_handler_as(slot, f)
    }
}

impl<H> Clone for Server<H> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<H> Copy for Server<H> {}

/// Everything that a [`ServerId`] can do.
impl<H> Deref for Server<H> {
    type Target = ServerId;

    fn deref(&self) -> &ServerId {
        &self.id
    }
}

impl<H> From<Server<H>> for ServerId {
    fn from(server: Server<H>) -> ServerId {
        server.id
    }
}

impl<H> PartialEq for Server<H> {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl<H> Eq for Server<H> {}

impl<H> Hash for Server<H> {
    fn hash<S: Hasher>(&self, state: &mut S) {
        self.id.hash(state);
    }
}

impl<H> fmt::Display for Server<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.id.fmt(f)
    }
}

impl<H> fmt::Debug for Server<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.id, f)
    }
}

impl ServerId {
    /// Listens. Without a host, and on a path, it is bound when this returns; an IP address is bound in the next tick, a
    /// name after its lookup. `on_listening` follows in a tick, or `on_server_error`, after which it can listen again.
    /// A second call before the first has bound replaces it.
    ///
    /// # Errors
    /// Only what Node throws: [`Error::BadPort`], [`Error::AlreadyListening`], [`Error::InvalidPath`]; and
    /// [`Error::Gone`].
    pub fn listen(self, lp: &mut Loop, on: impl Into<Listen>) -> Result<()> {
        let on = on.into();
        let (id, port) = lp.begin_listening(self, &on)?;
        match on.endpoint.resolution(port, "listen") {
            Resolution::NoHost | Resolution::Path(_) => lp.bind_server(self, &on, None),
            Resolution::Address(Ok(address)) => {
                lp.tick(NetTick::Server(self, ServerTick::Bind(id, Box::new((on, address)))));
            }
            Resolution::Address(Err(error)) => lp.tick(NetTick::Server(self, ServerTick::Error(Box::new(error)))),
            Resolution::Name(host) => {
                lp.set_looking_up(self, true);
                let host = host.to_owned();
                let remote = lp.remote();
                let on_answer = move |lp: &mut Loop, answer| lp.server_looked_up(self, id, &on, answer);
                lp.net.resolver.look_up((&host, port), remote, on_answer);
            }
        }
        Ok(())
    }

    /// As [`listen`](Self::listen), but bound when it returns, and with binding errors as its result. A name blocks.
    ///
    /// # Errors
    /// As the function [`listen`].
    pub fn listen_now(self, lp: &mut Loop, on: impl Into<Listen>) -> Result<()> {
        let on = on.into();
        let (_, port) = lp.begin_listening(self, &on)?;
        let address = match on.endpoint.resolution(port, "listen") {
            Resolution::NoHost | Resolution::Path(_) => None,
            Resolution::Address(address) => Some(address?),
            Resolution::Name(host) => resolve(host, port)?.first().copied(),
        };
        lp.try_bind(self, &on, address)?;
        lp.tick(NetTick::Server(self, ServerTick::Listening));
        Ok(())
    }

    /// Accepts nobody any more; who is connected stays. `on_server_close` follows, in a tick, once the last is gone. It can
    /// listen again.
    pub fn close(self, lp: &mut Loop) {
        lp.close_server(self, None);
    }

    /// As [`close`](Self::close), and calls `done` after `on_server_close`, with [`Error::NotRunning`] if it was not
    /// listening.
    pub fn close_then(self, lp: &mut Loop, done: impl FnOnce(&mut Loop, Result<()>) + 'static) {
        lp.close_server(self, Some(Box::new(done)));
    }

    /// Closes the server in order: connections that wait in the backlog are accepted, what has arrived is answered, every
    /// connection gets what was written and a FIN, and those that do not leave are destroyed in the end. `on_server_close`
    /// follows. See [`Drain`] for the steps and their times.
    ///
    /// A server that drains already goes on with its first [`Drain`].
    pub fn drain(self, lp: &mut Loop, drain: Drain) {
        lp.drain_server(self, drain);
    }

    /// Whether it drains: from the call of [`drain`](Self::drain) until its last connection is gone.
    pub fn is_draining(self, lp: &Loop) -> bool {
        lp.net.server(self).is_some_and(|state| state.drain.is_some())
    }

    /// Closes it, if need be, and frees its slot: the handle finds nothing any more. Connections go on with its handler and its
    /// limits, and nobody counts them: there is no `on_server_close`, and what was given to [`close_then`](Self::close_then) is
    /// called in a tick, with [`Error::Gone`] if connections were left.
    pub fn remove(self, lp: &mut Loop) {
        let Some(state) = lp.net.server_mut(self) else { return };
        state.listener.close();
        let limits = state.options.limits.clone();
        lp.recount_server(self);
        lp.set_looking_up(self, false);
        // Its sockets name it by its slot, which somebody else may get. This is the only thing that looks at all sockets.
        for socket in lp.net.sockets.values_mut().filter(|socket| socket.server == self.0.index()) {
            socket.server = NO_SERVER;
            if limits != Limits::NONE {
                socket.more().limits.get_or_insert_with(|| Box::new(limits.clone()));
            }
        }
        let Some(state) = lp.net.servers.remove(self.0) else { return };
        lp.release_handler(state.handler);
        for (callback, result) in state.close_callbacks {
            let result = if state.connections == 0 { result } else { Err(Error::Gone) };
            lp.next_tick(|lp| callback(lp, result));
        }
    }

    /// What it is bound to; `None` before and after.
    pub fn address(self, lp: &Loop) -> Option<LocalAddress> {
        lp.net.server(self)?.listener.address()
    }

    /// The port that it is bound to; `None` before and after, and on a path.
    pub fn port(self, lp: &Loop) -> Option<u16> {
        self.address(lp)?.port()
    }

    /// Its connections, in no order: all that it has accepted and that are not destroyed. Looks at every socket of the loop.
    pub fn sockets(self, lp: &Loop) -> Vec<Socket> {
        if lp.net.server(self).is_none() {
            return Vec::new();
        }
        let sockets = lp.net.sockets.iter().filter(|(_, state)| state.server == self.0.index());
        sockets.map(|(key, _)| Socket(key)).collect()
    }

    /// Whether it is bound.
    pub fn is_listening(self, lp: &Loop) -> bool {
        lp.net.server(self).is_some_and(|state| state.listener.is_bound())
    }

    /// How many connections it has ([Node: `server.getConnections`](https://nodejs.org/docs/latest-v20.x/api/net.html#servergetconnectionscallback)). A destroyed one does not count any more, although its `on_close` is still to come.
    #[doc(alias = "getConnections")]
    pub fn connections(self, lp: &Loop) -> usize {
        lp.net.server(self).map_or(0, |state| state.connections as usize)
    }

    /// Changes [`ServerOptions::max_connections`] for newcomers. 0 is no limit, as in Node.
    #[doc(alias = "maxConnections")]
    pub fn set_max_connections(self, lp: &mut Loop, max: usize) {
        if let Some(state) = lp.net.server_mut(self) {
            state.max_connections = max;
        }
    }

    /// Lets the server keep the loop alive while it listens, which is how it starts.
    #[doc(alias = "ref")]
    pub fn ref_(self, lp: &mut Loop) {
        lp.reference_server(self, true);
    }

    /// Lets the loop end although the server listens.
    pub fn unref(self, lp: &mut Loop) {
        lp.reference_server(self, false);
    }

    /// Gives the server, and the sockets it accepts from now on, another handler.
    pub fn set_handler(self, lp: &mut Loop, handler: impl IntoHandler) {
        if lp.net.server(self).is_none() {
            return;
        }
        let slot = handler.into_slot(lp);
        let Some(state) = lp.net.server_mut(self) else { return };
        let old = std::mem::replace(&mut state.handler, slot);
        lp.release_handler(old);
    }
}

/// `server #3`, as in the logs.
impl fmt::Display for ServerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "server #{}", self.0.serial())
    }
}

impl fmt::Debug for ServerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Server#{}", self.0.serial())
    }
}

/// What the loop knows of a server. Its slot lives until it is removed: it may listen again.
pub(super) struct ServerState {
    pub serial: u32,
    pub handler: u32,
    pub options: ServerOptions,
    pub listener: Listener,
    pub connections: u32,
    /// 0 is no limit.
    pub max_connections: usize,
    is_unreferenced: bool,
    /// Counted among what keeps the loop alive: for listening, and for looking a name up.
    is_counted: bool,
    is_looking_up: bool,
    /// On the ready list.
    pub is_ready: bool,
    /// Accepting has failed, and a timer will have it tried again.
    pub accepts_later: bool,
    /// Newcomers who had left when it was their turn, since the last who had not.
    pub gone_in_a_row: u32,
    /// Counts calls to listen and close: what was put off by an earlier one is void.
    listening_id: u32,
    /// The results are known when close is called: it was listening, or not.
    close_callbacks: Vec<(WriteCallback, Result<()>)>,
    /// While it drains.
    pub(super) drain: Option<Box<Draining>>,
    /// Connections refused, for the log.
    pub(super) refused: Tally,
    /// Connections ended for being idle, for the log.
    pub(super) idle: Tally,
}

impl HasSerial for ServerState {
    fn serial(&self) -> u32 {
        self.serial
    }
}

/// What a server puts off to the tick queue.
pub(crate) enum ServerTick {
    Bind(u32, Box<(Listen, SocketAddr)>),
    /// Reported if it is bound by then, to whatever, as in Node.
    Listening,
    Error(Box<Error>),
    /// A drain has begun: its connections get `on_going_away`.
    GoingAway,
    Close,
}

impl Loop {
    /// Checks what Node checks at once, and voids an earlier call that has not bound yet. Gives the call's number, and the port.
    fn begin_listening(&mut self, server: ServerId, on: &Listen) -> Result<(u32, u16)> {
        let port = on.endpoint.check()?;
        let Some(state) = self.net.server_mut(server) else { return Err(Error::Gone) };
        if state.listener.is_bound() {
            return Err(Error::AlreadyListening);
        }
        state.listening_id = state.listening_id.wrapping_add(1);
        let id = state.listening_id;
        // A lookup of that call may go on, but nobody waits for it any more.
        self.set_looking_up(server, false);
        Ok((id, port))
    }

    fn server_looked_up(&mut self, server: ServerId, id: u32, on: &Listen, answer: LookupResult) {
        if self.net.server(server).is_none_or(|state| state.listening_id != id) {
            return;
        }
        self.set_looking_up(server, false);
        match answer {
            Ok(addresses) => self.bind_server(server, on, addresses.first().copied()),
            Err(error) => self.tick(NetTick::Server(server, ServerTick::Error(Box::new(error)))),
        }
    }

    /// Binds, and reports how it went in a tick.
    fn bind_server(&mut self, server: ServerId, on: &Listen, address: Option<SocketAddr>) {
        let tick = match self.try_bind(server, on, address) {
            Ok(()) => ServerTick::Listening,
            Err(error) => ServerTick::Error(Box::new(error)),
        };
        self.tick(NetTick::Server(server, tick));
    }

    fn try_bind(&mut self, server: ServerId, on: &Listen, address: Option<SocketAddr>) -> Result<()> {
        let Some(state) = self.net.server_mut(server) else { return Err(Error::Gone) };
        let options = state.options.clone();
        #[cfg(any(test, fuzzing))]
        let opened = match &self.net.simulated {
            Some(kernel) => Ok(kernel.listen()),
            None => open_listener(on, address, &options),
        };
        #[cfg(not(any(test, fuzzing)))]
        let opened = open_listener(on, address, &options);
        let mut listener = opened?;
        let token = server.0.token(TokenKind::Server);
        let interest = mio::Interest::READABLE;
        match &mut listener {
            Listener::Tcp(listener) => self.registry.register(listener, token, interest),
            Listener::Unix(listener, _) => self.registry.register(listener, token, interest),
            #[cfg(any(test, fuzzing))]
            Listener::Simulated(listener) => listener.register(token),
            Listener::None => Ok(()),
        }
        .map_err(|error| Error::system("listen", &error))?;
        if let Some(state) = self.net.server_mut(server) {
            if let Some(address) = listener.address() {
                log::info!(target: "bucle::net", "{server} listening on {address}");
            }
            state.listener = listener;
        }
        self.recount_server(server);
        Ok(())
    }

    pub(super) fn run_server_tick(&mut self, server: ServerId, tick: ServerTick) {
        let Some(state) = self.net.server_mut(server) else { return };
        match tick {
            ServerTick::Bind(id, on) if state.listening_id == id => self.bind_server(server, &on.0, Some(on.1)),
            ServerTick::Bind(..) => {}
            ServerTick::Listening => {
                if state.listener.is_bound() {
                    self.emit_server(server, Kind::OnListening, |handler, lp| handler.on_listening(lp, server));
                }
            }
            ServerTick::Error(error) => {
                self.emit_server(server, Kind::OnServerError, |handler, lp| {
                    handler.on_server_error(lp, server, *error)
                });
            }
            ServerTick::GoingAway => self.announce_drain(server),
            ServerTick::Close => {
                log::info!(target: "bucle::net", "{server} closed");
                let callbacks = std::mem::take(&mut state.close_callbacks);
                self.emit_server(server, Kind::OnServerClose, |handler, lp| handler.on_server_close(lp, server));
                for (callback, result) in callbacks {
                    self.call(Kind::Callback, self.cause(), |lp| callback(lp, result));
                }
            }
        }
    }

    pub(super) fn close_server(&mut self, server: ServerId, callback: Option<WriteCallback>) {
        let Some(state) = self.net.server_mut(server) else {
            if let Some(callback) = callback {
                self.next_tick(|lp| callback(lp, Err(Error::NotRunning)));
            }
            return;
        };
        state.listening_id = state.listening_id.wrapping_add(1);
        if let Some(callback) = callback {
            let result = if state.listener.is_bound() { Ok(()) } else { Err(Error::NotRunning) };
            state.close_callbacks.push((callback, result));
        }
        if state.listener.is_bound() {
            log::info!(target: "bucle::net", "{server} takes no more connections, {} go on", state.connections);
        }
        state.listener.close();
        self.set_looking_up(server, false);
        self.recount_server(server);
        self.close_server_if_idle(server);
    }

    fn close_server_if_idle(&mut self, server: ServerId) {
        if self.net.server(server).is_some_and(|state| !state.listener.is_bound() && state.connections == 0) {
            self.end_drain(server);
            self.tick(NetTick::Server(server, ServerTick::Close));
        }
    }

    /// One of a server's connections was destroyed.
    pub(super) fn connection_gone(&mut self, slot: u32) {
        let Some(state) = self.net.servers.at_mut(slot) else { return };
        state.connections = state.connections.saturating_sub(1);
        let server = ServerId(Key::new(slot as usize, state.serial));
        self.close_server_if_idle(server);
    }

    fn reference_server(&mut self, server: ServerId, is_referenced: bool) {
        if let Some(state) = self.net.server_mut(server) {
            state.is_unreferenced = !is_referenced;
            self.recount_server(server);
        }
    }

    fn recount_server(&mut self, server: ServerId) {
        let Some(state) = self.net.server_mut(server) else { return };
        let keeps_alive = state.listener.is_bound() && !state.is_unreferenced;
        if keeps_alive != state.is_counted {
            state.is_counted = keeps_alive;
            self.active = if keeps_alive { self.active + 1 } else { self.active - 1 };
        }
    }

    /// A lookup in flight keeps the loop alive.
    fn set_looking_up(&mut self, server: ServerId, is_looking_up: bool) {
        let Some(state) = self.net.server_mut(server) else { return };
        if state.is_looking_up != is_looking_up {
            state.is_looking_up = is_looking_up;
            self.active = if is_looking_up { self.active + 1 } else { self.active - 1 };
        }
    }
}
